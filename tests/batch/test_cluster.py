"""The same work on a cluster of Dask, which is started here or runs already."""

import functools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("distributed")

from distributed import Client, Nanny, Scheduler, SpecCluster, Worker, get_worker

from hybridseg.batch.cluster import Cluster, open_cluster
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.sending import Parcel, sent_folder
from hybridseg.errors import BadInput, MissingInput

# Its page would be on one port for all.
SCHEDULER = {"cls": Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1"}}


@pytest.mark.slow
def test_a_cluster_writes_the_same_and_survives_a_dead_worker(photo, job, tmp_path, caplog):
    for name in ("b", "c", "killer"):
        photo.with_name(f"{name}.png").write_bytes(photo.read_bytes())
    paths = [photo.with_name(f"{name}.png") for name in ("b", "killer", "c", "photo")]
    with open_cluster(n_jobs=2) as cluster:
        assert cluster.n_workers == 2 and cluster.dashboard.startswith("http://127.0.0.1:")
        many = run_jobs(paths, replace(job, outputs=Outputs(out_dir=tmp_path / "many")), mapper=cluster)
        address = cluster.client.scheduler.address
        with open_cluster(scheduler=address) as joined:
            again = run_jobs(paths[2:], replace(job, outputs=Outputs(out_dir=tmp_path / "again")), mapper=joined)
        scheduler_file = tmp_path / "scheduler.json"
        scheduler_file.write_text(json.dumps({"address": address}))
        with open_cluster(scheduler_file=scheduler_file) as joined:
            assert joined.n_workers >= 1, "one that died may be starting"
    assert not [record for record in caplog.records if record.name.startswith("distributed")], "Dask keeps quiet"
    assert [image.image_path for image in many.images] == [paths[0], *paths[2:]] and len(again.images) == 2
    assert [problem.where for problem in many.problems] == [str(paths[1])]
    assert "it was killed, probably because memory ran out, 3 times" in many.problems[0].message
    one = run_jobs([paths[0], *paths[2:]], replace(job, outputs=Outputs(out_dir=tmp_path / "one")))
    for result, same in zip(many.images, one.images, strict=True):
        assert result.written[0].read_bytes() == same.written[0].read_bytes()


@pytest.fixture
def two_kinds():
    """A cluster in this process, of a worker that says that it has a GPU, and one that does not."""
    kinds = {"fast": {"cls": Worker, "options": {"resources": {"GPU": 1}, "nthreads": 1, "host": "127.0.0.1"}}}
    kinds["plain"] = {"cls": Worker, "options": {"nthreads": 1, "host": "127.0.0.1"}}
    with SpecCluster(kinds, scheduler=SCHEDULER, silence_logs=50) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def one_kind():
    """A scheduler in this process with the settings of Dask, and one worker in a process that a nanny starts again."""
    worker = {"cls": Nanny, "options": {"resources": {"GPU": 1}, "nthreads": 1, "host": "127.0.0.1"}}
    with SpecCluster({"one": worker}, scheduler=SCHEDULER, silence_logs=50) as cluster:
        yield cluster


def note_or_die(log, name):
    with log.open("a") as file:
        file.write(f"{name}\n")
    if name == "bad":
        os._exit(3)
    return name


@pytest.mark.slow
@pytest.mark.parametrize("how", [{}, {"resource": "GPU"}, {"prepare": str}])
def test_an_item_that_ends_its_worker_takes_no_other_with_it(one_kind, tmp_path, how):
    before = (one_kind.scheduler.allowed_failures, one_kind.scheduler.WORKER_SATURATION)
    prepare = {"prepare": str} if "prepare" in how else {}
    names = ["bad", "a", *("bcd" if how else "")]
    with open_cluster(scheduler=one_kind.scheduler_address, resource=how.get("resource", "")) as cluster:
        assert (one_kind.scheduler.allowed_failures, one_kind.scheduler.WORKER_SATURATION) == (0, 1.0)
        calls = cluster(
            functools.partial(note_or_die, tmp_path / "log"), names, **prepare,
            on_death=lambda name, end: f"{name} {end}", on_late=lambda _: None,
        )  # fmt: skip
        assert sorted(calls) == sorted(["bad ended with exit code 3", *names[1:]])
    assert (tmp_path / "log").read_text().split().count("bad") == 3
    assert (one_kind.scheduler.allowed_failures, one_kind.scheduler.WORKER_SATURATION) == before


def test_a_scheduler_that_keeps_its_settings_is_joined(two_kinds, monkeypatch):
    def refuse(*_, **__):
        raise ValueError("this scheduler runs no functions")

    monkeypatch.setattr(Client, "run_on_scheduler", refuse)
    with open_cluster(scheduler=two_kinds.scheduler.address) as cluster:
        assert list(cluster(str, [1], on_death=lambda *_: None, on_late=lambda _: None)) == ["1"]


def name_worker(_):
    return get_worker().name


def test_networks_run_where_a_worker_says_that_it_has_a_gpu(two_kinds):
    ignored = {"on_death": lambda *_: None, "on_late": lambda _: None}
    assert set(Cluster(two_kinds, 2, "", "GPU")(name_worker, range(6), **ignored)) == {"fast"}
    assert set(Cluster(two_kinds, 2, "")(name_worker, range(6), **ignored)) == {"fast", "plain"}
    assert len(list(Cluster(two_kinds, 2, "", "FPGA")(name_worker, range(3), **ignored))) == 3, "nobody has it"


def test_workers_share_the_memory_of_their_machine(two_kinds, monkeypatch):
    cluster = Cluster(two_kinds, 2, "")
    assert cluster.n_per_machine == 2
    hosts = {"workers": {str(i): {"host": host} for i, host in enumerate("abbcb")}}
    monkeypatch.setattr(two_kinds, "scheduler_info", lambda **_: hosts)
    assert cluster.n_per_machine == 3


@pytest.mark.slow
def test_a_model_is_sent_by_content(two_kinds, photo, job, tmp_path):
    cluster = Cluster(two_kinds, 2, "")
    sha256 = cluster.send_models(job.model_paths)
    kept = sent_folder(sha256) / "0" / "model.bin"
    assert kept.read_bytes() == b"model"
    sent = replace(job, sent=sha256, outputs=Outputs(out_dir=tmp_path / "out", figures=None))
    assert sent.fingerprint() == replace(sent, sent="").fingerprint()
    result = run_jobs([photo], sent, mapper=cluster)
    assert not result.problems
    here = run_jobs([photo], replace(job, outputs=Outputs(out_dir=tmp_path / "here", figures=None)))
    assert result.images[0].written[0].read_bytes() == here.images[0].written[0].read_bytes()
    # The path of the model means nothing to the workers.
    assert sent.find_models().model_paths == (kept,)
    kept.write_bytes(b"damaged")
    assert cluster.send_models(job.model_paths) == sha256 and kept.read_bytes() == b"model"
    kept.unlink()
    with pytest.raises(MissingInput, match="was sent to this machine and is gone; run the command again"):
        run_jobs([photo], sent, mapper=cluster)
    with pytest.raises(BadInput, match="did not arrive as it was sent"):
        Parcel((("0/model.bin", b"other"),), sha256).unpack()


@pytest.mark.slow
def test_a_command_says_nothing_of_how_dask_works(tile_dir, tiny_model, tmp_path):
    photo = next((tile_dir / "veg").iterdir())
    words = ["segment", photo, "--model", tiny_model, "--out", tmp_path / "out", "--engine", "dask", "--jobs", "1"]
    done = subprocess.run([sys.executable, "-m", "hybridseg", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and (tmp_path / "out/manifest.jsonl").exists()
    assert "Dask: 1 worker, dashboard http" in done.stdout
    assert not re.search("(?i)scheduler|nanny|traceback", done.stderr), done.stderr


def test_a_cluster_without_workers(tmp_path):
    scheduler_file = tmp_path / "scheduler.json"
    with SpecCluster({}, scheduler=SCHEDULER, silence_logs=50) as cluster:
        scheduler_file.write_text(json.dumps({"address": cluster.scheduler_address}))
        for given, words in (
            ({"scheduler": cluster.scheduler_address}, cluster.scheduler_address),
            ({"scheduler_file": scheduler_file}, f"--scheduler-file {scheduler_file}"),
        ):
            with (
                pytest.raises(BadInput, match=re.escape(f"start some with `dask worker {words}`")),
                open_cluster(**given),
            ):
                pass


def test_a_cluster_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("hybridseg.batch.cluster._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(BadInput, match=r"no scheduler answers at tcp://127\.0\.0\.1:9"),
        open_cluster(scheduler="tcp://127.0.0.1:9"),
    ):
        pass
    with (
        pytest.raises(MissingInput, match="there is no scheduler file"),
        open_cluster(scheduler_file=tmp_path / "none.json"),
    ):
        pass
    with pytest.raises(BadInput, match="number of jobs"), open_cluster(n_jobs=-1):
        pass
