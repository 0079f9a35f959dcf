"""The parts of one image, which all workers share: the same result, and only what is missing."""

import os
import pickle
import shutil
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio.shutil
from windowjob import LoggedDense, TileJob, WindowJob

from hybridseg.batch import parts
from hybridseg.batch.cluster import open_cluster
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.manifest import Manifest
from hybridseg.batch.parts import EngineFailed, drop_parts, measure_parts
from hybridseg.batch.plan import Plan, check_disk, count_kept, divide_tasks
from hybridseg.batch.sending import Parcel, sent_folder
from hybridseg.dense import predict
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, WriteFailed
from hybridseg.io.sources import as_source
from hybridseg.models.cards import combine_fingerprint, hash_bytes
from hybridseg.models.views import View
from tests.dense.conftest import FakeDense
from tests.io.test_lazyimages import write_tiff

N_WINDOWS, SHAPE = 24, (224, 152)


@pytest.fixture
def mosaic(tmp_path):
    """A raster of 6 x 4 windows with a corner that holds no picture."""
    pixels = np.random.default_rng(0).integers(1, 256, (28, 19, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    pixels[:70, :50] = 0
    write_tiff(tmp_path / "mosaic.tif", pixels, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    return tmp_path / "mosaic.tif"


@pytest.fixture
def job(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"model")
    (tmp_path / "log").mkdir()
    outputs = Outputs(out_dir=tmp_path / "out", figures=None, probabilities=True)
    options = DenseOptions(native=True, window=64, overlap=16)
    return WindowJob((tmp_path / "model.bin",), outputs, options=options, log=tmp_path / "log")


@pytest.fixture
def here():
    """What calls in this process, one after the other, but in another order than they are needed."""

    class Backwards:
        n_workers = 2

        def __init__(self):
            self.n_most = None

        def __call__(self, function, items, *, prepare=lambda item: item, on_death, on_late):
            order = [item for i in range(0, len(items), 5) for item in reversed(items[i : i + 5])]
            for n, item in enumerate(order):
                if n == self.n_most:
                    raise KeyboardInterrupt
                yield function(prepare(item))

    return Backwards()


def read_results(job):
    return {path.name: path.read_bytes() for path in job.outputs.out_dir.iterdir() if path.name != "manifest.jsonl"}


def place(job, name):
    return replace(job, outputs=replace(job.outputs, out_dir=job.outputs.out_dir.with_name(name)))


@pytest.fixture
def expected(mosaic, job):
    """What one process writes."""
    serial = place(job, "serial")
    assert len(run_jobs([mosaic], serial).images) == 1
    assert job.count_windows() == N_WINDOWS == job.count_parts(SHAPE)
    return read_results(serial)


@pytest.mark.slow
def test_other_processes_write_the_same(mosaic, job, expected):
    done = run_jobs([mosaic], job, n_jobs=2)
    assert not done.problems and job.count_windows() == N_WINDOWS
    assert read_results(job) == expected, "and nothing is left of the windows"


@pytest.mark.parametrize(
    "n_most", [7, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 17, N_WINDOWS - 1))]
)
def test_a_run_that_was_stopped_goes_on_with_the_windows_that_are_missing(mosaic, job, expected, here, n_most):
    here.n_most = n_most
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    assert job.count_windows() == n_most
    [kept] = job.outputs.out_dir.iterdir()
    assert kept.name == ".mosaic_predseg.png.hybridseg.parts"
    # Of what is merged only the result is kept: no more than two rows of windows, and five that came early.
    assert len(list(kept.glob("windows-*.npz"))) <= 2 * 4 + 5
    here.n_most = None
    manifest = Manifest.read(job.outputs.out_dir)
    with manifest.writing():
        assert len(run_jobs([mosaic], job, mapper=here, manifest=manifest).images) == 1
    assert job.count_windows() == N_WINDOWS - n_most
    assert read_results(job) == expected
    [entry] = Manifest.read(job.outputs.out_dir).entries.values()
    assert entry.facts.n_workers == 2


@pytest.mark.parametrize(
    "change", ["settings", *(pytest.param(name, marks=pytest.mark.slow) for name in ("image", "model", "engine"))]
)
def test_what_was_kept_is_of_the_same_image_model_and_settings(mosaic, job, here, change):
    here.n_most = 9
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    here.n_most = None
    assert job.count_windows() == 9
    if change == "image":
        content = mosaic.read_bytes()
        write_tiff(mosaic, np.full((224, 152, 3), 7, np.uint8))
        assert mosaic.read_bytes() != content
    elif change == "model":
        job.model_paths[0].write_bytes(b"other")
    elif change == "settings":
        job = replace(job, options=replace(job.options, flips=True))
    else:
        job = replace(job, engine="tensorflow")
    assert len(run_jobs([mosaic], job, mapper=here).images) == 1
    assert job.count_windows() == N_WINDOWS * (4 if change == "settings" else 1), "from the beginning"


def test_a_job_is_another_with_other_classes_or_another_card(job, monkeypatch):
    def fingerprint(change=lambda card: card, names=("cliff", "veg", "water")):
        network = FakeDense(names)
        network.card = change(network.card)
        monkeypatch.setattr(WindowJob, "load", lambda job: [network])
        return job.fingerprint()

    assert fingerprint() == fingerprint(lambda card: replace(card, scores={"dice": 1.0}))
    others = {
        fingerprint(names=("cliff", "veg", "sea")),
        fingerprint(names=("veg", "cliff", "water")),
        fingerprint(lambda card: replace(card, table=replace(card.table, colors=((1, 2, 3), (4, 5, 6), (7, 8, 9))))),
        fingerprint(lambda card: replace(card, normalization=replace(card.normalization, scale=2.0))),
        fingerprint(lambda card: replace(card, size=(64, 64))),
        fingerprint(lambda card: replace(card, view=View(True, (1.0, 1.0), (64, 64)))),
    }
    assert len(others) == 6 and fingerprint() not in others


def test_a_damaged_window_is_computed_again(mosaic, job, expected, here):
    here.n_most = 12
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    [kept] = job.outputs.out_dir.iterdir()
    damaged = kept / "windows-13.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    here.n_most = None
    job.count_windows()
    assert len(run_jobs([mosaic], job, mapper=here).images) == 1
    assert job.count_windows() == N_WINDOWS - 12 + 1 and read_results(job) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "smoothing"),
    [
        ({}, {"radius": 2}),
        ({}, {"crf_from": "probabilities"}),
        ({"scale": 0.5, "window": 32}, {}),
        ({"blend": False, "overlap": 40}, {}),
    ],
)
def test_whatever_is_made_of_the_windows(mosaic, job, here, options, smoothing):
    job = replace(job, options=replace(job.options, **options), smoothing=SmoothingOptions(**smoothing))
    serial = place(job, "serial")
    run_jobs([mosaic], serial)
    here.n_most = 5
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    here.n_most, n_parts = None, job.count_parts(SHAPE)
    job.count_windows()
    assert len(run_jobs([mosaic], job, mapper=here).images) == 1 and n_parts > 5
    assert job.count_windows() == n_parts - 5, "those that are used twice are not computed twice"
    assert read_results(job) == read_results(serial)


@pytest.mark.parametrize("smoothing", [pytest.param({}, marks=pytest.mark.slow), {"radius": 2}])
def test_networks_that_vote_share_windows_and_are_compared(mosaic, job, here, smoothing, monkeypatch):
    networks = [LoggedDense(job.model_paths[0], job.log), FakeDense(order=(0, 2, 1))]
    monkeypatch.setattr(WindowJob, "load", lambda _: networks)
    job = replace(job, smoothing=SmoothingOptions(**smoothing))
    serial = place(job, "serial")
    [expected] = run_jobs([mosaic], serial).images
    here.n_most = 15
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    here.n_most = None
    [found] = run_jobs([mosaic], job, mapper=here).images
    assert read_results(job) == read_results(serial)
    assert found.measures == expected.measures and found.measures["model_disagreement"] > 0.1


def test_tiles_of_the_hybrid_are_shared_too(mosaic, tmp_path, here):
    (tmp_path / "model.bin").write_bytes(b"model")
    job = TileJob((tmp_path / "model.bin",), Outputs(out_dir=tmp_path / "out", figures=None, probabilities=True))
    serial = place(job, "serial")
    run_jobs([mosaic], serial)
    here.n_most = 4
    assert job.count_parts(SHAPE) > 8
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    [kept] = job.outputs.out_dir.iterdir()
    assert sorted(path.name for path in kept.glob("*.npz")) == [f"tiles0-{i}.npz" for i in range(1, 5)]
    here.n_most = job.count_parts(SHAPE) - 4
    assert len(run_jobs([mosaic], job, mapper=here).images) == 1
    assert read_results(job) == read_results(serial)


def test_workers_find_models_that_were_sent(mosaic, job, expected, here):
    sent = Parcel(
        (("0/model.bin", b"sent in parts"),), combine_fingerprint("0/model.bin " + hash_bytes(b"sent in parts"))
    )
    sent.unpack()
    ours = replace(job, sent=sent.sha256)
    assert len(run_jobs([mosaic], ours, mapper=here).images) == 1 and read_results(job) == expected
    (sent_folder(sent.sha256) / "0/model.bin").unlink()
    with pytest.raises(EngineFailed, match="was sent to this machine and is gone"):
        run_jobs([mosaic], ours, mapper=here)


@pytest.mark.slow
def test_a_cluster_writes_the_same(mosaic, job, expected):
    pytest.importorskip("distributed")
    (job.log / "kill").write_bytes(b"x")
    with open_cluster(n_jobs=2) as cluster:
        assert not run_jobs([mosaic], job, mapper=cluster).problems
    assert read_results(job) == expected and N_WINDOWS <= job.count_windows() <= N_WINDOWS + 2


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on(mosaic, job, expected, launch, tmp_path):
    """The work itself is slow, so that the kill comes before the end."""
    (job.log / "wait").write_text("0.2")
    (tmp_path / "job.pickle").write_bytes(pickle.dumps((mosaic, job)))
    code = "import pickle, sys; from hybridseg.batch import jobs; image, job = pickle.load(open(sys.argv[1], 'rb')); "
    code += "jobs.run_jobs([image], job, n_jobs=2)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = launch([sys.executable, "-c", code, tmp_path / "job.pickle"], env=environment)
    kept = job.outputs.out_dir / ".mosaic_predseg.png.hybridseg.parts"
    while len(list(job.log.glob("*.window"))) < 9:
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    n_before = job.count_windows()
    assert kept.is_dir() and n_before < N_WINDOWS
    (job.log / "wait").unlink()
    assert not run_jobs([mosaic], job, n_jobs=2).problems
    # Those that were being computed, or on their way, are lost.
    assert N_WINDOWS - n_before <= job.count_windows() <= N_WINDOWS - n_before + 6
    assert read_results(job) == expected


def test_an_engine_that_fails_is_no_fault_of_the_image(mosaic, job):
    class Gone:
        n_workers = 2

        def __call__(self, function, items, **settings):
            yield from ()
            if items:
                raise BadInput("the scheduler is gone")

    manifest = Manifest.read(job.outputs.out_dir)
    with manifest.writing(), pytest.raises(EngineFailed, match="the scheduler is gone"):
        run_jobs([mosaic], job, mapper=Gone(), manifest=manifest)
    assert not manifest.entries, "it is tried again"


@pytest.mark.slow
def test_a_window_whose_process_dies_is_tried_again(mosaic, job, expected):
    (job.log / "kill").write_bytes(b"xx")
    assert not run_jobs([mosaic], job, n_jobs=2).problems
    assert read_results(job) == expected
    (job.log / "kill").write_bytes(b"x" * 100)
    manifest = Manifest.read(job.outputs.out_dir)
    with manifest.writing():
        [problem] = run_jobs([mosaic], job, n_jobs=2, manifest=manifest).problems
    assert "worked on a part of it was killed, probably because memory ran out, 3 times" in problem.message
    assert 100 - len((job.log / "kill").read_bytes()) <= 12, "and the others are not begun"


def test_which_images_are_shared(mosaic, job, photo):
    paths = [photo, *(mosaic.with_name(f"{name}.tif") for name in "abcde")]
    for path in paths[1:]:
        path.write_bytes(mosaic.read_bytes())
    tasks = list(enumerate(paths))
    for n_workers, n_shared in ((1, 0), (2, 1), (3, 2), (4, 1), (5, 0), (8, 5), (13, 0)):
        whole, shared = divide_tasks(tasks, job, n_workers)
        assert shared == tasks[len(tasks) - n_shared :] and whole == tasks[: len(tasks) - n_shared], n_workers
    assert divide_tasks(tasks * 4, job, 2)[1] == [], "many photos are not"
    gone = [(0, as_source(f"/vsizip/{mosaic.parent}/none.zip/a.tif")), (1, mosaic.with_name("none.tif"))]
    assert divide_tasks(gone, job, 2) == (gone, [])


@pytest.mark.parametrize("kind", ["archive", "mosaic"])
def test_what_is_copied_first_is_shared_too(mosaic, job, expected, here, kind):
    if kind == "archive":
        archive = shutil.make_archive(str(mosaic.with_name("all")), "zip", mosaic.parent, mosaic.name)
        source = as_source(f"/vsizip/{archive}/{mosaic.name}")
    else:
        source = mosaic.with_suffix(".vrt")
        rasterio.shutil.copy(mosaic, source, driver="VRT")
    assert divide_tasks([(0, source)], job, 2) == ([], [(0, source)])
    assert count_kept([(0, source)], job, 2) == count_kept([(0, mosaic)], job, 2) > 0
    here.n_most = 9
    with pytest.raises(KeyboardInterrupt):
        run_jobs([source], job, mapper=here)
    here.n_most, n_before = None, job.count_windows()
    [image] = run_jobs([source], job, mapper=here).images
    assert image.image_path == source and job.count_windows() == N_WINDOWS - n_before == N_WINDOWS - 9
    assert read_results(job) == expected


@pytest.mark.parametrize(("options", "smoothing"), [({}, {}), ({}, {"radius": 2}), ({"scale": 0.5, "window": 32}, {})])
def test_the_disk_holds_the_parts_that_are_kept(mosaic, job, here, options, smoothing, monkeypatch):
    job = replace(job, options=replace(job.options, **options), smoothing=SmoothingOptions(**smoothing))
    target, sizes = job.list_targets(mosaic)[0], []
    write = parts._Kept.write

    def write_and_measure(*arguments):
        write(*arguments)
        sizes.append(measure_parts(target))

    monkeypatch.setattr(parts._Kept, "write", write_and_measure)
    # No more is ahead than this mapper does.
    monkeypatch.setattr(predict, "MOST_AHEAD", 3)
    expected = job.count_kept(SHAPE, here.n_workers)
    assert len(run_jobs([mosaic], job, mapper=here).images) == 1
    assert 0.7 * expected < max(sizes) < 1.03 * expected and measure_parts(target) == 0


def test_a_run_whose_parts_the_disk_would_not_hold_does_not_begin(mosaic, job, here, monkeypatch):
    shared = [(0, mosaic)]
    kept = count_kept(shared, job, 2)
    plan = Plan(1, 0, 0.1, None, 0, 0, n_shared=1, kept_bytes=kept)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=kept))
    check_disk(job.outputs.out_dir, plan)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=kept - 1))
    with pytest.raises(WriteFailed, match=r"need 0\.0 MB, and the parts of a large image \d+\.\d MB until it is done;"):
        check_disk(job.outputs.out_dir, plan)
    here.n_most = 5
    with pytest.raises(KeyboardInterrupt):
        run_jobs([mosaic], job, mapper=here)
    assert 0 < count_kept(shared, job, 2) < kept - 4 * 4 * 64 * 64, "what is there already is not counted"


def test_parts_go_when_other_settings_finish_the_image(mosaic, job, here):
    """Under another name; those of other images stay."""
    other = mosaic.with_name("mosaic_2.tif")
    other.write_bytes(mosaic.read_bytes())
    renamed = replace(job, outputs=replace(job.outputs, title="other"))
    for path in (other, mosaic):
        here.n_most = 5
        with pytest.raises(KeyboardInterrupt):
            run_jobs([path], job, mapper=here)
    kept = sorted(path.name for path in job.outputs.out_dir.iterdir())
    assert kept == [f".{name}_predseg.png.hybridseg.parts" for name in ("mosaic_2", "mosaic")]
    here.n_most = None
    manifest = Manifest.read(job.outputs.out_dir)
    with manifest.writing():
        assert len(run_jobs([mosaic], renamed, mapper=here, manifest=manifest).images) == 1
    assert [path.name for path in job.outputs.out_dir.glob(".*.parts")] == kept[:1]


def test_nothing_of_a_user_is_removed(mosaic, job, here):
    target = job.list_targets(mosaic)[0]
    kept = target.parent / ".mosaic_predseg.png.hybridseg.parts"
    kept.mkdir(parents=True)
    for name in ("notes.txt", "windows-1.npz", f"{'a' * 64}.key"):
        (kept / name).touch()
    drop_parts(target)
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    kept.rename(kept.with_name("elsewhere"))
    kept.symlink_to("elsewhere")
    (kept / "windows-1.npz").touch()
    [problem] = run_jobs([mosaic], job, mapper=here).problems
    drop_parts(target)
    assert "is a link where hybridseg keeps" in problem.message and len(list(kept.iterdir())) == 2
