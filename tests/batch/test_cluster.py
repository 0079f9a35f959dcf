"""The same work on a cluster of Dask, which is started here or runs already."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("distributed")

from hybridseg.batch.cluster import open_cluster
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.errors import BadInput, MissingInput


@pytest.mark.slow
def test_a_cluster_writes_the_same_and_survives_a_dead_worker(photo, job, tmp_path):
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
    assert [image.image_path for image in many.images] == [paths[0], *paths[2:]] and len(again.images) == 2
    assert [problem.where for problem in many.problems] == [str(paths[1])]
    assert "ended the process that worked on it" in many.problems[0].message
    one = run_jobs([paths[0], *paths[2:]], replace(job, outputs=Outputs(out_dir=tmp_path / "one")))
    for result, same in zip(many.images, one.images, strict=True):
        assert result.written[0].read_bytes() == same.written[0].read_bytes()


@pytest.mark.slow
def test_a_command_says_nothing_of_how_dask_works(tile_dir, tiny_model, tmp_path):
    photo = next((tile_dir / "veg").iterdir())
    words = ["segment", photo, "--model", tiny_model, "--out", tmp_path / "out", "--engine", "dask", "--jobs", "1"]
    done = subprocess.run([sys.executable, "-m", "hybridseg", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and (tmp_path / "out/manifest.jsonl").exists()
    assert "Dask: 1 workers, dashboard http" in done.stdout
    assert not re.search("(?i)scheduler|nanny|traceback", done.stderr), done.stderr


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
