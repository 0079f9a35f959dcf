"""`segment` on many images, and `status`."""

import json
import os
import re
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio import Affine

from hybridseg.batch.cluster import Cluster
from hybridseg.batch.manifest import MANIFEST_NAME
from hybridseg.errors import BadInput
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.machine import MemoryOptions


@pytest.fixture
def photos(paint_classes, tmp_path):
    folder = tmp_path / "photos"
    for name, classes in (("a", ("water", "sand", "veg")), ("b", ("veg", "sand", "water"))):
        write_image(folder / f"{name}.png", paint_classes(*classes))
    return folder


@pytest.fixture
def words(tiny_model, tmp_path):
    return ["--model", tiny_model, "--out", tmp_path / "out", "--engine", "serial", "--no-figures"]


def test_a_folder_and_then_what_is_missing(run, photos, words, tmp_path):
    out = tmp_path / "out"
    plan = run("segment", photos, *words, "--dry-run").output
    assert "images      2 to do, 0 done" in plan and "known once an image is done" in plan and not out.exists()
    assert "memory      up to about 0.3 GB, by the sizes of the images; this machine has" in plan
    assert re.search(
        r"^disk        about 0.0 MB of results in .*, by the sizes of the images; [\d.,]+ [GT]B are free$", plan, re.M
    )
    result = run("segment", photos, *words)
    assert result.exit_code == 0 and "2 images done" in result.output
    found = read_labelmap(out / "b_ares_16.mat")
    assert found.table.names[found.labels[24, 10]] == "veg"
    assert {path.name for path in out.iterdir()} == {
        MANIFEST_NAME, "a_ares_16.mat", "a_ares_16_label.png", "b_ares_16.mat", "b_ares_16_label.png",
    }  # fmt: skip
    before = (out / "a_ares_16.mat").stat().st_mtime_ns
    write_image(photos / "c.png", found.labels[..., None].repeat(3, axis=2))
    plan = run("segment", photos, *words, "--dry-run").output
    assert "images      1 to do, 2 done" in plan and "time        about" in plan and "memory      up to" in plan
    # As other commands are asked to go on.
    result = run("segment", photos, *words, "--resume")
    assert "had a result already and were skipped: 2" in result.output and "c.png:" in result.output
    assert (out / "a_ares_16.mat").stat().st_mtime_ns == before
    # What is missing is made anew, and replaces nothing.
    (out / "b_ares_16.mat").unlink()
    assert "1 to do, 2 done\n" in run("segment", photos, *words, "--dry-run").output
    # Other results than those that are there.
    told = "the results of 3 images will be replaced (another model or other settings)"
    plan = run("segment", photos, *words, "--probabilities", "--dry-run").output
    assert f"images      3 to do, 0 done; {told}" in plan
    result = run("segment", photos, *words, "--probabilities")
    assert f"{told}; give another --out to keep them" in result.output
    assert "3 images done" in result.output and (out / "a_ares_16_confidence.tif").exists()


@pytest.fixture
def scene(photos):
    """A photo with its place on Earth."""
    shape = {"driver": "GTiff", "width": 96, "height": 48, "count": 3, "dtype": "uint8"}
    with rasterio.open(photos / "scene.tif", "w", **shape, crs=32633, transform=Affine(2, 0, 5e5, 0, -2, 5e6)) as file:
        file.write(read_image(photos / "a.png").transpose(2, 0, 1))
    return photos / "scene.tif"


@pytest.mark.slow
def test_whatever_is_missing_of_what_was_written_is_made_again(run, scene, words, tmp_path):
    out = tmp_path / "out"
    run("segment", scene, *words)
    files = sorted(path.name for path in out.iterdir() if path.name != MANIFEST_NAME)
    ending = ".mat", "_label.png", "_label.qml", "_label.tif", "_label.tif.aux.xml"
    assert files == [f"scene_ares_16{end}" for end in ending]
    for name in files:
        (out / name).unlink()
        assert "  wrote " in run("segment", scene, *words).output, name
        assert (out / name).exists() and "skipped: 1" in run("segment", scene, *words).output
    # A style of the user's is as good as ours.
    (out / files[2]).write_text("<qgis/>")
    assert "skipped: 1" in run("segment", scene, *words).output


@pytest.mark.parametrize("is_early", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_lies_beside_a_label_map_goes_with_it(run, scene, words, tmp_path, is_early):
    """A style of the user's does not."""
    out, manifest = tmp_path / "out", tmp_path / "out" / MANIFEST_NAME
    beside = [f"{name}_ares_16_label.{end}" for name in ("a", "scene") for end in ("qml", "tif.aux.xml")]
    shutil.copy(scene, scene.with_name("a.tif"))
    sources = scene.with_name("a.tif"), scene
    run("segment", *sources, *words)
    assert [name for name in beside if (out / name).exists()] == beside
    (out / beside[0]).write_text("<qgis/>")
    if is_early:
        text = manifest.read_text()
        for name in beside:
            text = text.replace(f', "{name}"', "")
        assert text != manifest.read_text()
        manifest.write_text(text)
    for path in sources:
        write_image(path.with_suffix(".png"), read_image(path))
        path.unlink()
        path.with_suffix(".png").rename(path)
    run("segment", *sources, *words)
    assert not list(out.glob("*.tif")) and [name for name in beside if (out / name).exists()] == beside[:1]


@pytest.mark.parametrize("has_card", [True, False])
def test_other_classes_are_another_model(run, scene, words, tiny_model, tmp_path, has_card):
    """Those of the card, or of the list of a model without one, by name, order and colour."""
    model = tmp_path / "mine" / "model.pb"
    model.parent.mkdir()
    names = [tiny_model.name, "model.tflite", "model.json"] if has_card else [tiny_model.name]
    for name in names:
        shutil.copy(tiny_model.with_name(name), model.parent)
    listing = model.with_name("model.json" if has_card else "list.txt")
    words[1] = model
    if not has_card:
        shutil.copy(tiny_model.with_name("labels.txt"), listing)
        words += ["--labels", listing, "--input-range", "0..1", "--tile-size", "16"]
    assert "  wrote " in run("segment", scene, *words).output
    assert "skipped: 1" in run("segment", scene, *words).output
    text = listing.read_text()
    listing.write_text(text.replace("sand", "beach"))
    result = run("segment", scene, *words)
    assert "the results of 1 image will be replaced (another model or other settings)" in result.output
    assert "beach" in read_labelmap(tmp_path / "out" / "scene_ares_16.mat").table.names
    # Another path to the same classes is no difference, nor is what a card tells of its training.
    if has_card:
        listing.write_text(json.dumps({**json.loads(listing.read_text()), "scores": {}}))
        colors = {**json.loads(listing.read_text()), "colors": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}
    else:
        words[words.index(listing)] = listing.rename(listing.with_name("moved.txt"))
    assert "skipped: 1" in run("segment", scene, *words).output
    if has_card:
        listing.write_text(json.dumps(colors))
        assert "  wrote " in run("segment", scene, *words).output


def test_a_large_image_is_shared(run, photos, words, tmp_path):
    mosaic = np.tile(read_image(photos / "a.png"), (6, 9, 1))
    write_image(tmp_path / "mosaic.png", mosaic)
    words = [word for word in words if word not in ("--engine", "serial")]
    for jobs, end in ((1, "\n"), (2, "; all processes share the parts of 1 image\n"), (200, "\n")):
        plan = run("segment", tmp_path / "mosaic.png", *words, "--jobs", jobs, "--dry-run").output
        assert f"images      1 to do, 0 done{end}" in plan, jobs


@pytest.mark.slow
def test_a_large_image_that_is_shared_is_the_same(run, photos, words, tmp_path):
    mosaic = np.tile(read_image(photos / "a.png"), (6, 9, 1))
    write_image(tmp_path / "mosaic.png", mosaic)
    assert run("segment", tmp_path / "mosaic.png", *words).exit_code == 0
    expected = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != MANIFEST_NAME}
    words = [word if word != tmp_path / "out" else tmp_path / "shared" for word in words[:-3]]
    assert run("segment", tmp_path / "mosaic.png", *words, "--no-figures", "--jobs", 2).exit_code == 0
    found = {path.name: path.read_bytes() for path in (tmp_path / "shared").iterdir() if path.name != MANIFEST_NAME}
    assert found == expected and len(found) == 2


def test_the_engine_of_the_model_is_told_and_nothing_is_done_again(run, photos, words, tmp_path):
    for engine in ("litert", "tensorflow"):
        result = run("segment", photos / "a.png", *words, "--model-engine", engine)
        assert ("skipped: 1" in result.output) == (engine == "tensorflow")
    lines = map(json.loads, (tmp_path / "out" / MANIFEST_NAME).read_text().splitlines())
    assert [line["settings"]["model_engine"] for line in lines if "settings" in line] == ["litert", "tensorflow"]


def test_a_list_with_a_bad_image(run, photos, words, tmp_path):
    (photos / "bad.png").write_bytes((photos / "a.png").read_bytes()[:80])
    listing = tmp_path / "some.txt"
    listing.write_text(f"{photos / 'bad.png'}\n\n{photos / 'b.png'}\n")
    for _ in range(2):
        result = run("segment", listing, *words)
        assert result.exit_code == 1 and "1 file could not be used, the others are done" in result.output
    assert "--retry-failed tries again" in result.output
    (photos / "bad.png").unlink()
    result = run("status", tmp_path / "out")
    assert result.exit_code == 0 and re.search(r"^2 images; the last call, begun \S+, has ended$", result.output, re.M)
    assert "done      1" in result.output and "left      0" in result.output
    assert f"{photos / 'bad.png'}: " in result.output and "cut short" in result.output
    found = json.loads(run("status", tmp_path / "out", "--json").stdout)["result"]["status"]
    assert found["n_images"] == 2 and found["failed"][0]["where"] == str(photos / "bad.png")


def test_an_image_without_data_is_done_with_a_remark(run, photos, words, tmp_path):
    write_image(photos / "sea.png", np.zeros((48, 48, 4), np.uint8))
    result = run("segment", photos, *words)
    assert result.exit_code == 0 and "sea.png: no data: void everywhere" in result.output
    assert "3 images done, 1 of them with no data (void everywhere)" in result.output
    assert (read_labelmap(tmp_path / "out/sea_ares_16.mat").labels == 255).all()
    lines = [json.loads(line) for line in (tmp_path / "out" / MANIFEST_NAME).read_text().splitlines()[1:]]
    assert {line["image"].rpartition("/")[2]: (line["result"], line["remark"]) for line in lines} == {
        "a.png": ("done", ""), "b.png": ("done", ""), "sea.png": ("done", "no data"),
    }  # fmt: skip
    assert "done      3, 1 of them with no data (void everywhere)\n" in run("status", tmp_path / "out").output
    assert "skipped: 3" in run("segment", photos, *words).output
    result = run("predict", "-m", words[1], "-i", photos / "sea.png", "-o", tmp_path / "sea.png")
    assert result.exit_code == 0 and (read_labelmap(tmp_path / "sea.png").labels == 255).all()


def test_a_file_that_is_named_in_two_ways_is_done_once(run, photos, words, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    monkeypatch.chdir(photos)
    (tmp_path / "list.txt").write_text("link\n")
    sources = "a.png", f"{photos}/../photos/a.png", photos, tmp_path / "link", tmp_path / "list.txt"
    assert "2 to do, 0 done" in run("segment", *sources, *words, "--dry-run").output
    result = run("segment", *sources, *words)
    assert result.exit_code == 0 and "2 images done" in result.output


def test_a_dry_run_and_the_status_list_what_the_run_refuses(run, photos, words, tmp_path):
    write_image(tmp_path / "more" / "a.png", np.full((48, 48, 3), 90, np.uint8))
    result = run("segment", photos, tmp_path / "more", *words, "--dry-run")
    assert result.exit_code == 1 and "2 to do, 0 done" in result.output
    reason = f"{tmp_path / 'more' / 'a.png'}: has the same name as {photos / 'a.png'}"
    assert f"segment would refuse:\n  {reason}" in result.output
    assert run("segment", photos, tmp_path / "more", *words).exit_code == 1
    found = run("status", tmp_path / "out").output
    assert found.startswith("3 images; ") and "has ended" in found and "left      0" in found
    assert f"failed:\n  {reason}" in found
    # It is asked for again, and now there is no other.
    (photos / "a.png").unlink()
    assert run("segment", tmp_path / "more", *words).exit_code == 0
    assert "failed    0" in run("status", tmp_path / "out").output


def test_a_disk_that_is_too_small(run, photos, words, monkeypatch, tmp_path):
    words, before = words[:-1], "hybridseg.batch.plan.shutil.disk_usage"
    monkeypatch.setattr(before, lambda _: SimpleNamespace(free=1_000_000))
    told = "has 1.0 MB free, and the results may need 1.6 MB, by the sizes of the images"
    result = run("segment", photos, *words, "--dry-run")
    assert result.exit_code == 0 and "about 1.6 MB of results" in result.output and "; 1.0 MB are free" in result.output
    result = run("segment", photos, *words)
    assert result.exit_code == 0 and told in result.output and "2 images done" in result.output
    # Once what some took is known, it is refused.
    write_image(photos / "c.png", read_image(photos / "a.png"))
    assert told not in run("segment", photos, *words).output
    write_image(photos / "d.png", read_image(photos / "a.png"))
    monkeypatch.setattr(before, lambda _: SimpleNamespace(free=100))
    reason = "0.0 MB free, and the results need 0.0 MB; choose another --out"
    result = run("segment", photos, *words, "--dry-run")
    assert result.exit_code == 1 and f"segment would refuse:\n  {tmp_path / 'out'}: has {reason}" in result.output
    assert reason in run("segment", photos, *words).output


def test_a_dry_run_says_how_many_images_stand_for_all(run, photos, words, monkeypatch, tmp_path):
    shutil.make_archive(tmp_path / "all", "zip", photos)
    archive = f"/vsizip/{tmp_path}/all.zip"
    assert "megapixels  0.0\n" in run("segment", archive, *words, "--dry-run").output
    monkeypatch.setattr("hybridseg.batch.plan._MOST_ASKED", 1)
    told = "megapixels  0.0, estimated from 1 of the 2 images that lie elsewhere\n"
    assert told in run("segment", archive, *words, "--dry-run").output


def test_copies_that_the_disk_would_not_hold(run, photos, words, monkeypatch, tmp_path):
    rasterio.shutil.copy(photos / "a.png", tmp_path / "c.jp2", driver="JP2OpenJPEG")
    sources, places = (photos, tmp_path / "c.jp2"), {tmp_path / "out": 10**9, tmp_path / "tmp": 1_100_000}
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("hybridseg.cli.batch.measure_free", places.get)
    monkeypatch.setattr("hybridseg.batch.plan.measure_free", places.get)
    result = run("segment", *sources, *words, "--dry-run")
    row = f"copies      at most 1.0 MB at a time in {tmp_path / 'tmp'}, which has 1.1 MB free\n"
    assert result.exit_code == 0 and row in result.output
    assert "copies  " not in run("segment", photos, *words, "--dry-run").output
    places[tmp_path / "tmp"] = 1_000_000
    reason = "has 1.0 MB free, and temporary copies of images need up to 1.0 MB; free some space, or set TMPDIR to"
    result = run("segment", *sources, *words, "--dry-run")
    assert result.exit_code == 1 and f"segment would refuse:\n  {tmp_path / 'tmp'}: {reason}" in result.output
    assert reason in run("segment", *sources, *words).output and not list(tmp_path.glob("out/*.mat"))
    # Nobody is refused for what an image is only estimated to take.
    monkeypatch.setattr("hybridseg.batch.plan.measure_copy", lambda image: (10**9, False))
    assert run("segment", *sources, *words, "--dry-run").exit_code == 0
    result = run("segment", *sources, *words)
    assert result.exit_code == 0 and "copies of images may need up to 1.0 GB, by the sizes of" in result.output


def test_a_dry_run_refuses_a_folder_that_cannot_be_written(run, photos, words, monkeypatch, tmp_path):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hybridseg.io.atomic.tempfile.TemporaryFile", refuse)
    result = run("segment", photos, *words, "--dry-run")
    assert result.exit_code == 1 and "2 to do" in result.output and not (tmp_path / "out").exists()
    assert re.search("segment would refuse:\n.*cannot write in .*out: Permission denied; choose another", result.output)


def test_a_dry_run_names_an_image_that_cannot_be_read(run, photos, words):
    assert "cannot be read" not in run("segment", photos, *words, "--dry-run").output
    (photos / "bad.png").write_bytes(b"")
    (photos / "worse.jpg").write_bytes(b"nothing")
    result = run("segment", photos, photos / "gone.png", *words, "--dry-run")
    assert f"3 images cannot be read: {photos / 'bad.png'}: " in result.output
    assert "images      5 to do" in result.output and result.exit_code == 0


@pytest.mark.parametrize("command", ["segment", "semseg"])
def test_a_model_that_is_given_twice(run, photos, words, tmp_path, command):
    words = words[:4] if command == "semseg" else words
    result = run(command, photos, *words, "--model", words[1])
    assert result.exit_code == 1 and f"{words[1]} is given twice; " in result.output
    assert not list(tmp_path.glob("out/*.mat"))


def test_two_engines_that_do_not_go_together(run, photos, words, tmp_path):
    for more, reason in (
        (["--scheduler", "tcp://a:1", "--scheduler-file", "b"], "both name a cluster"),
        (["--scheduler", "tcp://a:1"], "leave --engine out"),
        (["--jobs", "2"], "--engine serial is one process"),
        (["--send-model"], "--send-model is for workers on other machines"),
    ):
        result = run("segment", photos, *words, *more)
        assert result.exit_code == 2 and reason in result.output, more
    result = run("segment", photos, *words[:4], "--scheduler-file", tmp_path / "none", "--jobs", 2)
    assert result.exit_code == 2 and "has its own workers" in result.output
    result = run("status", photos)
    assert result.exit_code == 1 and "give the folder that `hybridseg segment --out` names" in result.output


@pytest.mark.slow
def test_processes(run, photos, words, tmp_path):
    assert run("segment", photos, *words).exit_code == 0
    words[words.index("serial")] = "processes"
    words[words.index("--out") + 1] = tmp_path / "many"
    result = run("segment", photos, *words, "--jobs", 2)
    assert result.exit_code == 0
    for name in ("a_ares_16.mat", "b_ares_16.mat", "a_ares_16_label.png"):
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_estimate(run, photos, tiny_model, tmp_path):
    words = ["estimate", photos, "--model", tiny_model, "--jobs", "1"]
    result = run(*words)
    assert result.exit_code == 0 and "images      2\n" in result.output and "limit" in result.output
    assert "price" not in result.output and sorted(path.name for path in photos.iterdir()) == ["a.png", "b.png"]
    assert "tried       1 image of 0.0 megapixels, 1 at once" in run("estimate", photos / "a.png", *words[2:]).output
    result = run(*words, "--megapixels", "1e6", "--machines", "1,4", "--price", "0.5", "--json")
    found = json.loads(result.stdout)["result"]["estimate"]
    one, four = found["scenarios"]
    assert found["megapixels"] == pytest.approx(1e6) and one["price"] == pytest.approx(0.5 * one["machine_hours"])
    assert four["processes"] == 4 and four["hours"] < one["hours"] and found["steps"]["classify tiles"] > 0
    result = run(*words, "--megapixels", "0")
    assert result.exit_code == 1 and "megapixels=0.0: give a number above 0" in result.output


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b'{"address": 5}', b"[]", b"{"])
def test_a_file_that_names_no_scheduler(run, photos, words, tmp_path, content):
    pytest.importorskip("distributed")
    (tmp_path / "scheduler.json").write_bytes(content)
    result = run("segment", photos, *words[:4], "--scheduler-file", tmp_path / "scheduler.json")
    assert result.exit_code == 1 and "scheduler.json" in result.output and "Traceback" not in result.output


@pytest.fixture
def cluster(monkeypatch):
    """Six workers on two machines, in this process."""
    hosts = {f"tcp://{host}:{i}": {"host": host} for host, n in (("a", 4), ("b", 2)) for i in range(n)}

    class InThisProcess(Cluster):
        def __call__(self, function, items, **_):
            # Workers run in a folder of their own.
            with monkeypatch.context() as patch:
                patch.chdir("/")
                done = list(map(function, items))
            yield from done

    @contextmanager
    def join(*, scheduler, **_):
        if scheduler != "tcp://a:1":
            raise BadInput(f"no scheduler answers at {scheduler}")
        client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": hosts})
        yield InThisProcess(client, len(hosts), "", "")

    monkeypatch.setattr("hybridseg.cli.batch.open_cluster", join)


def test_a_cluster_decides_the_plan_and_the_memory(run, photos, words, cluster, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words, asked = ["--model", os.path.relpath(words[1]), "--out", "out", *words[-1:], "--scheduler", "tcp://a:1"], []
    plan = read_rows(run("segment", photos, *words, "--dry-run").output)
    assert plan["processes"] == "6 workers of the cluster"
    assert plan["memory"] == "up to about 0.3 GB for each worker, by the sizes of the images"
    monkeypatch.setattr(MemoryOptions, "find_room", lambda own, **_: asked.append(own.n_processes) or 1 << 30)
    assert run("segment", "photos", *words).exit_code == 0
    assert asked == [4, 4], "so many share the memory of a machine"
    assert len(list(tmp_path.glob("out/*.mat"))) == 2
    result = run("segment", photos, *words[:-1], "tcp://b:1", "--dry-run")
    assert result.exit_code == 1 and "no scheduler answers at tcp://b:1" in result.output


def test_a_list_that_is_no_text(run, photos, words, tmp_path):
    (tmp_path / "list.txt").write_bytes(b"photos/a.png\0x\n")
    result = run("segment", tmp_path / "list.txt", *words)
    assert result.exit_code == 1 and "as no file can be called; write a path on each line" in result.output


@pytest.mark.parametrize("change", [
    {"bytes_written": 10**300}, {"bytes_written": -1}, {"seconds": {"a": 1.7e308}}, {"megapixels": 5e-324},
    {"peak_mb": 1e300},
], ids=str)  # fmt: skip
def test_a_manifest_of_impossible_numbers(run, photos, words, tmp_path, change):
    run("segment", photos, *words)
    path = tmp_path / "out" / MANIFEST_NAME
    first, line, *rest = path.read_text().splitlines()
    record = json.loads(line)
    (record if set(change) <= set(record) else record["facts"]).update(change)
    path.write_text("\n".join([first, json.dumps(record), *rest]) + "\n")
    for command in (["segment", photos, *words, "--dry-run"], ["status", tmp_path / "out"]):
        result = run(*command)
        assert result.exit_code == 1 and "it cannot have taken" in result.output


def test_an_estimate_and_a_plan_say_the_same_with_the_same_options(run, photos, words, tiny_model):
    """What was measured before a run and in it: the same rows, the same bytes."""
    more = ["--model", tiny_model, "--no-figures", "--stride", "8", "--jobs", "1"]
    before = read_rows(run("estimate", photos, *more).output)
    run("segment", photos / "a.png", *words, "--stride", "8")
    after = read_rows(run("segment", photos, *words, "--stride", "8", "--dry-run").output)
    assert {"images", "megapixels", "memory", "disk"} <= before.keys() & after.keys()
    assert before["megapixels"] == after["megapixels"] and before["memory"][:16] == after["memory"][:16]
    result = run("estimate", photos, *more, "--flips")
    assert result.exit_code == 2 and "--flips is for dense networks" in result.output


def read_rows(output):
    return {line[:11].strip(): line[12:] for line in output.splitlines() if line[11:12] == " "}


def test_a_status_names_what_earlier_calls_left(run, photos, words, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("hybridseg.cli.batch.run_job", lambda *args, **settings: None)
        run("segment", photos / "a.png", *words)
    run("segment", photos / "b.png", *words)
    text = run("status", tmp_path / "out").output
    assert text.startswith("2 images; the last call, begun ") and "has ended" in text
    assert (
        "  done      1\n" in text and "  left      1; 1 of them from earlier calls, which must be run again\n" in text
    )
