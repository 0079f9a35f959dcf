"""Which machines a training has, and how they meet."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hybridseg.dense import meeting, replicas
from hybridseg.dense.machines import Cluster, MachineOptions, Share
from hybridseg.dense.meeting import meet
from hybridseg.dense.replicas import choose_strategy
from hybridseg.errors import BadInput, BadUsage

TWO = ("a:2222", "b:2222")
ABOUT = {"hybridseg": "1", "tensorflow": "2"}


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 23])
def test_the_shares_of_a_batch_are_all_of_it(n, count):
    shares = [Share(index, count).of(n) for index in range(count)]
    if n < count:
        assert set(shares) == {(0, n)}
    else:
        assert [i for first, end in shares for i in range(first, end)] == list(range(n))
        sizes = [end - first for first, end in shares]
        assert max(sizes) - min(sizes) <= 1


def variable(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_the_machines_come_from_the_options_or_from_the_variable():
    assert MachineOptions("multiworker", ("a:2222, b:2222",), 1).find_cluster({}) == Cluster(TWO, 1)
    options = MachineOptions("multiworker")
    assert options.find_cluster(variable({"worker": TWO}, index=1)) == Cluster(TWO, 1)
    assert options.find_cluster(variable({"chief": TWO[:1], "worker": TWO[1:]})) == Cluster(TWO, 1)
    assert options.find_cluster(variable({"chief": TWO[:1], "worker": TWO[1:]}, "chief")) == Cluster(TWO, 0)
    # Without the option it is a training on one machine, as ever.
    assert MachineOptions().find_cluster(variable({"worker": TWO})) is None


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        (("multiworker",), {}, "give --cluster HOST:PORT,HOST:PORT and --worker N on each of them, or set TF_CONFIG"),
        (("multiworker", TWO, 2), {}, "--worker 2: --cluster has 2 machines; give a number from 0 to 1"),
        (("multiworker", ("a:2222", "b"), 0), {}, "--cluster: 'b' is not the address of a machine"),
        (("multiworker", ("a:2222", "b:70000"), 0), {}, "'b:70000' is not the address"),
        (("multiworker", ("a:1", "a:1"), 0), {}, "--cluster has a:1 twice"),
        (("multiworker", ("a:1",), 0), {}, "--cluster has 1 machine; give two or more"),
        (("multiworker", TWO, 0), variable({"worker": TWO}, index=1), "disagree; leave one of them out"),
        (("multiworker",), {"TF_CONFIG": "{"}, "TF_CONFIG does not name the machines of a training; write it like"),
        (("multiworker",), {"TF_CONFIG": "[" * 99999}, "TF_CONFIG does not name the machines"),
        (("multiworker",), variable({"worker": TWO, "ps": ["c:1"]}), "TF_CONFIG has ps in its cluster"),
        (("multiworker",), variable({"worker": TWO}, "chief"), "TF_CONFIG has no 'chief' in its cluster"),
        (("multiworker",), variable({"worker": TWO}, index=5), "the index 5 of TF_CONFIG: TF_CONFIG has 2 machines"),
        (("multiworker",), variable({"worker": [1, 2]}), "TF_CONFIG does not name the machines"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(given, environment, message):
    with pytest.raises(BadInput) as caught:
        MachineOptions(*given).find_cluster(environment)
    assert message in str(caught.value)


def test_options_of_several_machines_need_the_strategy():
    with pytest.raises(BadUsage, match="--cluster is for a training on several machines"):
        MachineOptions(cluster=TWO)
    with pytest.raises(BadUsage, match="--worker is for a training on several machines"):
        MachineOptions("mirrored", worker=0)
    with pytest.raises(BadUsage, match="give both"):
        MachineOptions("multiworker", TWO)


def find_ports(n):
    """Ports that nobody has."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def connect(address):
    """Connect to a server that may not have started."""
    until = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(address.split(":"), timeout=5)
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.05)


def gather(clusters, abouts, *, seconds=20):
    """Let machines meet, one in a thread each; return what each was told, None for all is well."""
    found = [None] * len(clusters)

    def go(i):
        try:
            meet(clusters[i], abouts[i], seconds=seconds)
        except BadInput as error:
            found[i] = str(error)

    threads = [threading.Thread(target=go, args=(i,)) for i in range(len(clusters))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_machines_meet():
    addresses = tuple(f"127.0.0.1:{port}" for port in find_ports(3))
    assert gather([Cluster(addresses, index) for index in (2, 0, 1)], [ABOUT] * 3) == [None] * 3


def test_one_that_differs_is_named_on_all():
    addresses = tuple(f"127.0.0.1:{port}" for port in find_ports(2))
    found = gather([Cluster(addresses, 0), Cluster(addresses, 1)], [ABOUT, {**ABOUT, "tensorflow": "3"}])
    wanted = f"worker 1 ({addresses[1]}) has tensorflow 3, and the chief 2; install the same on all"
    assert found == [wanted, wanted]


def test_other_lists_of_machines_are_told_on_all():
    first, second, third = (f"127.0.0.1:{port}" for port in find_ports(3))
    found = gather([Cluster((first, second), 0), Cluster((first, third), 1)], [ABOUT] * 2)
    assert all("worker 1 was given other machines than the chief" in text for text in found)


def test_two_of_one_number_are_told():
    ports = find_ports(4)
    addresses = tuple(f"127.0.0.1:{port}" for port in ports[:3])

    def come():
        # As on two machines: there the port of worker 1 is free twice.
        with connect(addresses[0]) as line:
            about = {"hybridseg-training": 1, "worker": 1, "cluster": addresses, **ABOUT}
            line.sendall(json.dumps(about).encode() + b"\n")
            return json.loads(line.recv(1 << 16))

    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(come) for _ in range(2)]
        found = gather([Cluster(addresses, 0)], [ABOUT])
        assert found == ["two machines were started as worker 1; give each its own --worker"]
        assert [answer.result()["error"] for answer in answers] == found * 2


@pytest.mark.slow
def test_one_that_does_not_come_is_named():
    addresses = tuple(f"127.0.0.1:{port}" for port in find_ports(3))
    found = gather([Cluster(addresses, 0), Cluster(addresses, 1)], [ABOUT] * 2, seconds=0.5)
    wanted = f"worker 2 ({addresses[2]}) did not come within 0.5 s; start the same command there, with its --worker"
    assert found == [wanted, wanted]
    alone = gather([Cluster(addresses, 1)], [ABOUT], seconds=1)
    assert alone[0].startswith(f"worker 0 (the chief, {addresses[0]}) cannot be reached within 1 s")


@pytest.mark.slow
def test_a_port_in_use_and_a_host_that_is_not_known(monkeypatch):
    monkeypatch.setattr(meeting, "_LINE_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        mine = f"127.0.0.1:{taken.getsockname()[1]}"
        (free,) = find_ports(1)
        assert "is in use by another program; choose another one" in gather([Cluster((mine, "b:1"), 0)], [ABOUT])[0]
        # Whoever answers at the address of the chief need not be one.
        found = gather([Cluster((mine, f"127.0.0.1:{free}"), 1)], [ABOUT], seconds=0.1)
        assert "has gone before all machines were there, or is another program" in found[0]
    found = gather([Cluster(("no-such-host.invalid:1", f"127.0.0.1:{free}"), 1)], [ABOUT])
    assert found[0].startswith("no-such-host.invalid, the host of the chief, is not known here")


def test_what_is_no_machine_does_not_disturb(monkeypatch):
    monkeypatch.setattr(meeting, "_LINE_SECONDS", 0.5)
    addresses = tuple(f"127.0.0.1:{port}" for port in find_ports(2))
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        chief = pool.submit(gather, [Cluster(addresses, 0)], [ABOUT])
        for text in (b"GET / HTTP/1.1\r\n\r\n\n", b"[" * 70_000 + b"\n", b""):
            line = stack.enter_context(connect(addresses[0]))
            with contextlib.suppress(ConnectionError):
                line.sendall(text)
        assert gather([Cluster(addresses, 1)], [ABOUT]) == chief.result() == [None]


@pytest.mark.slow
def test_several_graphics_cards_must_be_there(monkeypatch):
    monkeypatch.setattr(replicas, "list_devices", lambda: ["GPU:0"])
    with pytest.raises(BadInput, match="for several graphics cards, and TensorFlow finds 1 here"):
        choose_strategy("mirrored", has_full_batches=False)
