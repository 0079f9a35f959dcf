"""The machines of a training meet before it starts: those that are missing, and those that differ, are named.

Each opens a connection to the chief at its address, says in one line who it is, and waits for the answer: a line too.
After that the addresses are those of TensorFlow.
"""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from hybridseg.dense.machines import Cluster, split_address
from hybridseg.errors import BadInput
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.progress import say

_TOKEN = "hybridseg-training"  # nosec B105 # no secret: by it the machines know one another
_MAX_LINE = 1 << 16
_PAUSE, _LINE_SECONDS = 0.3, 10.0


def meet(cluster: Cluster, about: Mapping[str, str], *, seconds: float) -> None:
    """Wait until all machines are there.

    Parameters
    ----------
    about : mapping
        What must be the same on all of them, by what it is called.
    seconds : float
        How long to wait.

    Raises
    ------
    BadInput
        When one does not come, cannot be reached or differs.
    """
    until = time.monotonic() + seconds
    with _listen(cluster) as server:
        if cluster.index == 0:
            _gather(cluster, about, server, until, seconds)
            return
    _report(cluster, about, until, seconds)


def _listen(cluster: Cluster) -> socket.socket:
    """Listen at the port of this machine, as TensorFlow does later; so it is known that nobody else has it."""
    host, port = split_address(cluster.addresses[cluster.index])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The name by which others know this machine may not be one that it has itself.
        server.bind(("127.0.0.1" if host in ("127.0.0.1", "localhost") else "", port))
        # Whoever else knocks keeps no machine out.
        server.listen(128)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise BadInput(
                f"port {port} of this machine, {cluster.name(cluster.index)}, is in use by another program; choose "
                "another one in --cluster, on every machine"
            ) from error
        raise BadInput(f"port {port} of this machine cannot be used ({error.strerror}); choose another one") from error
    return server


def _gather(cluster: Cluster, about: Mapping[str, str], server: socket.socket, until: float, seconds: float) -> None:
    """Wait for all others, as the chief, and tell each of them how it ended."""
    here: dict[int, socket.socket] = {}
    told: list[socket.socket] = []
    missing = list(range(1, len(cluster.addresses)))
    say(f"waiting for {', '.join(map(cluster.name, missing))}")
    server.settimeout(_PAUSE)
    with ExitStack() as stack:
        try:
            while missing:
                if time.monotonic() > until:
                    names = ", ".join(map(cluster.name, missing))
                    raise BadInput(
                        f"{names} did not come within {seconds:g} s; start the same command there, with its --worker"
                    )
                try:
                    line, _ = server.accept()
                except TimeoutError:
                    line = None
                if line is not None:
                    stack.enter_context(line)
                    found = _read(line)
                    if found is not None:
                        told.append(line)
                        index = _check(cluster, about, found, here)
                        here[index] = line
                for index in [index for index, other in here.items() if _has_left(other)]:
                    del here[index]
                missing = [index for index in range(1, len(cluster.addresses)) if index not in here]
        except BadInput as error:
            for other in told:
                _write(other, {"error": str(error)})
            raise
        for other in here.values():
            _write(other, {"error": None})


def _check(cluster: Cluster, about: Mapping[str, str], found: Mapping[str, Any], here: Mapping[int, Any]) -> int:
    """Return the number of the machine that has come."""
    index = found.get("worker")
    if found.get("cluster") != list(cluster.addresses):
        raise BadInput(
            f"worker {index} was given other machines than the chief: {found.get('cluster')} and "
            f"{list(cluster.addresses)}; give the same list, in the same order, on all"
        )
    if not isinstance(index, int) or not 0 < index < len(cluster.addresses) or index in here:
        raise BadInput(f"two machines were started as worker {index}; give each its own --worker")
    for name, value in about.items():
        if found.get(name) != value:
            raise BadInput(
                f"{cluster.name(index)} has {name} {found.get(name)}, and the chief {value}; install the same on all"
            )
    return index


def _report(cluster: Cluster, about: Mapping[str, str], until: float, seconds: float) -> None:
    """Go to the chief, as soon as it can be reached, and wait until it has an answer."""
    chief, (host, port) = cluster.name(0), split_address(cluster.addresses[0])
    say(f"waiting for {chief}")
    with ExitStack() as stack:
        while True:
            try:
                line = stack.enter_context(socket.create_connection((host, port), timeout=_LINE_SECONDS))
                break
            except socket.gaierror as error:
                raise BadInput(f"{host}, the host of the chief, is not known here ({error.strerror})") from error
            except OSError as error:
                if time.monotonic() > until:
                    raise BadInput(
                        f"{chief} cannot be reached within {seconds:g} s ({error.strerror or error}); start the same "
                        "command there, and let no firewall be between the machines"
                    ) from error
                time.sleep(_PAUSE)
        _write(line, {_TOKEN: 1, "worker": cluster.index, "cluster": cluster.addresses, **about})
        # The chief itself says when the others do not come.
        line.settimeout(max(until - time.monotonic(), 0) + seconds + _LINE_SECONDS)
        answer = _read(line, is_answer=True)
    if answer is None:
        raise BadInput(f"{chief} has gone before all machines were there, or is another program; look at what it says")
    if answer["error"]:
        raise BadInput(str(answer["error"]))


def _write(line: socket.socket, record: Mapping[str, Any]) -> None:
    try:
        line.sendall(json.dumps(record).encode() + b"\n")
    except OSError:
        # Whoever is gone need not be told.
        return


def _read(line: socket.socket, *, is_answer: bool = False) -> dict[str, Any] | None:
    """Return what the other end says; None where it says nothing, or is no machine of a training."""
    if not is_answer:
        line.settimeout(_LINE_SECONDS)
    text = b""
    try:
        while not text.endswith(b"\n") and len(text) < _MAX_LINE and (more := line.recv(_MAX_LINE)):
            text += more
        record = parse_json_object(text)
    except (OSError, BadInput):
        return None
    return record if ("error" if is_answer else _TOKEN) in record else None


def _has_left(line: socket.socket) -> bool:
    """Return whether the other end is closed: nobody says more than one line."""
    line.setblocking(False)
    try:
        return not line.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
