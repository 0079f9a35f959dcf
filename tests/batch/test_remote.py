"""Images on the web and in archives: fetched where a user names them, and named as they are."""

import gzip
import json
import os
import resource
import shutil
import tempfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hybridseg.apply import make_job
from hybridseg.batch.jobs import Outputs, run_jobs
from hybridseg.batch.manifest import Manifest, find_key
from hybridseg.batch.plan import count_copied, make_plan
from hybridseg.errors import BadInput, DiskFull, MissingInput
from hybridseg.io import remote
from hybridseg.io.images import describe_image, read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import find_images
from hybridseg.io.remote import find_tag, local_copy, measure_copy
from hybridseg.io.sources import as_source, is_remote, name_copy

VRT = """<VRTDataset rasterXSize="8" rasterYSize="6"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


ASKED = []


class Quiet(SimpleHTTPRequestHandler):
    def send_head(self):
        self.path = self.path.partition("?")[0]
        ASKED.append((self.command, self.path))
        return super().send_head()

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path):
    """The address of a server of the folder ``www``, in which is ``a.png`` and an archive of it."""
    folder = tmp_path / "www"
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 2:] = 200
    write_image(folder / "a.png", image)
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.write(folder / "a.png", "in/b.png")
    ASKED.clear()
    find_tag.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_named_is_fetched(web, survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = [f"{web}/a.png?signature=1.2", "/vsizip/www/all.zip/in/b.png"]
    paths = find_images(map(as_source, sources), remote=True)
    assert all(map(is_remote, paths))
    result = survey(paths)
    assert not result.problems, result.problems
    assert [image.written[0].name for image in result.images] == ["a_threshold.png", "b_threshold.png"]
    for name in ("a", "b"):
        assert read_labelmap(tmp_path / "out" / f"{name}_threshold.png").labels[0].tolist() == [0, 0, *[1] * 6]
    text = (tmp_path / "out" / "manifest.jsonl").read_text()
    assert "signature" not in text, "what opens a door is not written down"
    facts = json.loads(text.splitlines()[1])["facts"]
    assert facts["sha256"] and facts["tag"] and facts["megapixels"] == 48e-6
    # The same image with another signature, and a list of paths.
    again = [*find_images([as_source(f"{web}/a.png?signature=3")], remote=True), paths[1]]
    assert len(survey(again).skipped) == 2
    (tmp_path / "some.txt").write_text("\n".join(sources))
    assert find_images([tmp_path / "some.txt"], remote=True) == paths


def test_the_copy_of_a_killed_run_is_removed_and_that_of_another_stays(web, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    left = tmp_path / "tmp" / ".0123456789abcdef.partial" / "large.tif"
    left.parent.mkdir(parents=True)
    left.touch()
    with local_copy(as_source(f"{web}/a.png")) as one, local_copy(as_source(f"{web}/a.png")) as other:
        assert one.name == other.name == "a.png" and one.exists() and other.exists() and one != other
        assert not left.parent.exists() and one.parent.stat().st_mode & 0o077 == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_an_archive_and_a_folder_in_it_stand_for_their_images(survey, tmp_path):
    source = tmp_path / "source"
    image = np.zeros((6, 8, 3), np.uint8)
    for name in ("a.png", "b.jpg", "deep/c.png", "deep/down/d.png"):
        write_image(source / name, image)
    for name in ("b_mask.png", "deep/.hidden.png"):
        write_image(source / name, image)
    (source / "notes.txt").write_text("nothing")
    shutil.make_archive(str(tmp_path / "all"), "zip", source)
    all_of_it = f"/vsizip/{tmp_path}/all.zip"

    def find(*texts):
        return [str(path.relative_to(as_source(all_of_it))) for path in find_images(map(as_source, texts), remote=True)]

    assert find(all_of_it) == ["a.png", "b.jpg"]
    assert find(f"{all_of_it}/deep", f"{all_of_it}/a.png") == ["deep/c.png", "a.png"]
    (tmp_path / "some.txt").write_text(f"{all_of_it}/deep/down/\n")
    assert find(str(tmp_path / "some.txt")) == ["deep/down/d.png"]
    result = survey(find_images([as_source(all_of_it)], remote=True))
    assert not result.problems and len(result.images) == 2
    shutil.rmtree(source / "deep" / "down")
    for name in ("a.png", "b.jpg", "b_mask.png"):
        (source / name).unlink()
    shutil.make_archive(str(tmp_path / "all"), "zip", source)
    with pytest.raises(MissingInput, match=rf"has no image itself, but its subfolders do; give {all_of_it}/deep$"):
        find(all_of_it)


def test_images_in_an_archive_with_a_signed_address_are_told_apart():
    one, other = (as_source(f"/vsizip/{{/vsicurl/https://x.org/a.zip?sig=1/2}}/{name}.tif") for name in "bc")
    assert find_key(one) == "/vsizip/{/vsicurl/https://x.org/a.zip}/b.tif"
    assert find_key(one) != find_key(other) and (name_copy(one), name_copy(other)) == ("b.tif", "c.tif")


def test_images_of_one_name_in_an_archive_do_not_replace_each_other(web, survey, tmp_path):
    with zipfile.ZipFile(tmp_path / "survey.zip", "w") as archive:
        for folder in ("north", "south"):
            archive.write(tmp_path / "www" / "a.png", f"{folder}/a.png")
    north, south = (as_source(f"/vsizip/{tmp_path}/survey.zip/{folder}/a.png") for folder in ("north", "south"))
    assert not survey([north]).problems
    (problem,) = survey([south]).problems
    assert problem.message.startswith(f"has the same name as /vsizip/{tmp_path}/survey.zip/north/a.png")
    assert len(survey([north]).skipped) == 1


def test_what_is_not_there_is_told_plainly(survey, tmp_path):
    shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path, ".")
    for name in ("all.zip/nowhere", "nope.zip"):
        with (
            pytest.raises(MissingInput, match=rf"{name} cannot be fetched \(there is nothing by that name\); check"),
            local_copy(as_source(f"/vsizip/{tmp_path}/{name}")),
        ):
            pass
    with pytest.raises(BadInput, match=r"all\.zip/\*\.png is a pattern, and patterns work only for files"):
        find_images([as_source(f"/vsizip/{tmp_path}/all.zip/*.png")], remote=True)
    with pytest.raises(BadInput, match=r"all\.zip is an archive; .* also takes /vsizip//.*/all\.zip\)$"):
        describe_image(tmp_path / "all.zip")


def test_an_archive_names_nothing_outside_it(survey, tmp_path):
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in (f"{tmp_path}/a.png", "../a.png", "in.txt"):
            archive.writestr(name, (tmp_path / "a.png").read_bytes())
    source = as_source(f"/vsizip/{tmp_path}/evil.zip")
    assert find_images([source], remote=True) == [source]
    [problem] = survey([source]).problems
    assert "is not a JPEG, PNG or TIFF image; name one in the archive" in problem.message
    (tmp_path / "none.zip").write_bytes(b"no archive")
    source = as_source(f"/vsizip/{tmp_path}/none.zip")
    assert find_images([source], remote=True) == [source]


def test_an_image_that_changed_is_done_again(web, survey, tmp_path):
    source = as_source(f"{web}/a.png")
    inside = as_source(f"/vsizip/{tmp_path}/www/all.zip/in/b.png")
    assert len(survey([source, inside]).images) == 2
    write_image(tmp_path / "www" / "a.png", np.full((7, 9, 3), 255, np.uint8))
    with zipfile.ZipFile(tmp_path / "www" / "all.zip", "w") as archive:
        archive.write(tmp_path / "www" / "a.png", "in/b.png")
    assert [image.shares for image in survey([source, inside]).images] == [{"bright": 1.0}] * 2
    assert read_labelmap(tmp_path / "out" / "a_threshold.png").labels.shape == (7, 9), "nothing old is kept"


def test_what_cannot_be_fetched_is_a_problem_and_is_tried_again(web, survey, tmp_path):
    (tmp_path / "www" / "evil.png").write_text(VRT.format(tmp_path / "www" / "a.png"))
    sources = [f"{web}/none.png", f"{web}/evil.png", "/vsizip/nothing.zip/c.png", f"{web}/a.png"]
    for n_done in (1, 0):
        result = survey([as_source(source) for source in sources])
        none, evil, archive = result.problems
        assert none.where == f"{web}/none.png"
        assert "cannot be fetched (HTTP response code: 404)" in none.message
        assert evil.message == "is not a JPEG, PNG or TIFF image; give one that is"
        assert "cannot be fetched" in archive.message
        assert len(result.images) == n_done
    (tmp_path / "www" / "none.png").write_bytes((tmp_path / "www" / "a.png").read_bytes())
    assert len(survey([as_source(sources[0])]).images) == 1


def test_an_image_in_an_object_store(web, survey, tmp_path, monkeypatch):
    """What serves it here speaks HTTP alone; GDAL reads addresses and keys from the environment, as of any store."""
    settings = {"S3_ENDPOINT": web.removeprefix("http://"), "HTTPS": "NO", "VIRTUAL_HOSTING": "FALSE"}
    for name, value in (settings | {"NO_SIGN_REQUEST": "YES"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    (tmp_path / "www/coast").mkdir()
    shutil.copy(tmp_path / "www/a.png", tmp_path / "www/coast/a.png")
    paths = find_images([as_source("s3://coast/a.png"), as_source("s3://coast/none.png")], remote=True)
    result = survey(paths)
    assert [problem.where for problem in result.problems] == ["/vsis3/coast/none.png"]
    assert "cannot be fetched" in result.problems[0].message
    assert read_labelmap(tmp_path / "out/a_threshold.png").labels[0].tolist() == [0, 0, *[1] * 6]
    assert survey(paths).skipped == (paths[0],)


def test_a_large_image_is_done_once(web, tmp_path, by_color, monkeypatch):
    """Its label map has another name than that of a small one, and how large it is nobody knows before it is here."""
    monkeypatch.setattr("hybridseg.hybrid.semseg.load_classifier", lambda path, **_: by_color)
    monkeypatch.setattr("hybridseg.batch.results.MOST_WHOLE_PIXELS", 1000)
    (tmp_path / "model.pb").touch()
    image = np.zeros((64, 96, 3), np.uint8)
    image[..., 0] = 200
    write_image(tmp_path / "www/a.png", image)
    job = make_job([tmp_path / "model.pb"], outputs=Outputs(tmp_path / "out", figures=None))
    paths = [as_source(f"{web}/a.png")]

    def run(**settings):
        find_tag.cache_clear()
        ASKED.clear()
        manifest = Manifest.read(tmp_path / "out")
        return run_jobs(paths, job, manifest=manifest, **settings)

    first = run()
    assert first.images[0].written[0].name == "a_ares_16_label.tif"
    assert run().skipped == tuple(paths) and ASKED == [("HEAD", "/a.png")]
    os.utime(tmp_path / "www/a.png", (1, 1))
    assert len(run().images) == 1


def test_of_what_is_fetched_the_file_is_counted(web, tmp_path, monkeypatch):
    """Or the pixels of it, where nobody says; of many images some stand for all."""
    remote._try_size.cache_clear()
    write_image(tmp_path / "www/large.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path, archived = as_source(f"{web}/large.png"), as_source(f"/vsizip/{tmp_path}/www/all.zip/in/b.png")
    size, n_bytes = (tmp_path / "www/a.png").stat().st_size, 6 * 8 * 3
    assert measure_copy(path) == ((tmp_path / "www/large.png").stat().st_size, True)
    assert measure_copy(archived) == (size, True)
    # What is in an archive of another kind, and a server that does not say.
    other = as_source(f"/vsigzip/{tmp_path}/a.png.gz")
    (tmp_path / "a.png.gz").write_bytes(gzip.compress((tmp_path / "www/a.png").read_bytes()))
    assert measure_copy(other) == (n_bytes, False)
    monkeypatch.setattr(remote, "ask_length", lambda url: 0)
    assert measure_copy(as_source(f"{web}/a.png")) == (n_bytes, False)
    assert count_copied([archived, other], 3) == (size + n_bytes, size)
    ASKED.clear()
    assert count_copied([archived, *(as_source(f"{web}/{i}.png") for i in range(1000))], 3) == (size, size)
    assert 10 < len({name for _, name in ASKED}) <= 64


def test_a_plan_counts_what_lies_elsewhere(web, tmp_path, monkeypatch):
    """Of many images by some of them, as if all were like these."""
    (tmp_path / "results").mkdir()
    manifest = Manifest.read(tmp_path / "results")
    shown = {"job": "", "n_workers": 1, "with_figures": False}
    plan = make_plan([as_source(f"{web}/a.png")], 0, manifest, **shown)
    assert (plan.megapixels, plan.n_remote, plan.n_asked, plan.n_unreadable) == (48e-6, 1, 1, 0)
    assert plan.memory_mb > 200 and plan.n_bytes > 0
    monkeypatch.setattr("hybridseg.batch.plan.read_shape", lambda path: (1000, 1000))
    monkeypatch.setattr("hybridseg.batch.plan.ask_shapes", lambda paths: None)
    write_image(tmp_path / "here.png", np.zeros((6, 8, 3), np.uint8))
    plan = make_plan([tmp_path / "here.png", *(as_source(f"{web}/{i}.png") for i in range(200))], 0, manifest, **shown)
    assert (plan.megapixels, plan.n_remote, plan.n_asked) == (201, 200, 50)


def test_only_what_was_named_is_fetched(web, job, tmp_path):
    path = as_source(f"{web}/a.png")
    for read in (describe_image, read_image):
        with pytest.raises(MissingInput, match="there is no file /vsicurl"):
            read(path)
    with pytest.raises(BadInput, match="`hybridseg segment` takes such images"):
        find_images([path])
    with pytest.raises(BadInput, match="say where the results go"):
        run_jobs([path], job)
    assert ASKED == []
    with local_copy(path) as copy:
        assert copy.name == "a.png" and copy.is_file()
    assert not copy.parent.exists() and ASKED


def test_an_archive_that_unpacks_to_far_more_than_an_image(tmp_path, monkeypatch):
    """A picture of 48 pixels, and noughts behind it; what is large for its pixels is fetched."""
    monkeypatch.setattr(remote, "_LEAST_BYTES", 1 << 20)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, n_bytes in (("bomb", 20_000_000), ("good", 100_000)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", (tmp_path / "a.png").read_bytes() + bytes(n_bytes))
    with (
        pytest.raises(BadInput, match=r"bomb\.zip/a\.png takes more than 1,048,576 bytes, far more than its pixels"),
        local_copy(as_source(f"/vsizip/{tmp_path}/bomb.zip/a.png")),
    ):
        pass
    # Less is free than that: the same error of GDAL says that the disk is full.
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with (
        pytest.raises(DiskFull, match=r"temporary has no room left for a copy of /vsizip/.*bomb\.zip/a\.png; free"),
        local_copy(as_source(f"/vsizip/{tmp_path}/bomb.zip/a.png")),
    ):
        pass
    with local_copy(as_source(f"/vsizip/{tmp_path}/good.zip/a.png")) as path:
        assert path.stat().st_size > 100_000
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_a_tar_archive_must_be_unpacked(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((6, 8, 3), np.uint8))
    shutil.make_archive(str(tmp_path / "all"), "tar", tmp_path, "a.png")
    source = as_source(f"/vsitar/{tmp_path}/all.tar/a.png")
    with pytest.raises(MissingInput, match=r"cannot be fetched \(.*\); unpack the archive$"), local_copy(source):
        pass
