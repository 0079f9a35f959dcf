"""What GDAL opens by itself, where a person says so: `gdal:depth.nc`."""

import os
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from hybridseg.batch.jobs import Outputs
from hybridseg.batch.manifest import find_key, is_there
from hybridseg.batch.plan import list_tasks
from hybridseg.errors import BadInput, HybridSegError, MissingInput
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import find_images
from hybridseg.io.rasters import read_georeference
from hybridseg.io.remote import find_tag, local_copy, read_shape
from hybridseg.io.sources import as_source, describe_source, is_remote, name_for_gdal, result_path, without_key
from hybridseg.io.trusted import hide_keys, is_endless

PLACE = from_origin(500_000, 4_000_000, 2, 2)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write an image in a format of GDAL, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(name, driver, *, n_bands=1, dtype="uint8", nodata=None, **settings):
        values = np.arange(n_bands * 6 * 8).reshape(n_bands, 6, 8).astype(dtype)
        profile = {"height": 6, "width": 8, "count": n_bands, "dtype": dtype, "crs": "EPSG:32611", "transform": PLACE}
        with rasterio.open("source.tif", "w", driver="GTiff", **profile, nodata=nodata) as dataset:
            dataset.write(values)
        rasterio.shutil.copy("source.tif", name, driver=driver, **settings)
        Path("source.tif").unlink()
        return np.moveaxis(values, 0, 2)

    return write


def find(*texts):
    find_tag.cache_clear()
    return find_images(map(as_source, texts), remote=True)


@pytest.mark.parametrize(
    ("name", "driver", "settings"),
    [
        ("depth.nc", "netCDF", {"dtype": "float32", "nodata": 3}),
        ("depth.asc", "AAIGrid", {"dtype": "float32", "nodata": 3}),
        ("photo.bmp", "BMP", {"n_bands": 3}),
        ("photo.ntf", "NITF", {"n_bands": 3}),
    ],
)
def test_any_format_is_read_with_its_place_and_its_gaps(write, name, driver, settings):
    values = write(name, driver, **settings)
    (source,) = find(f"gdal:{name}")
    assert read_shape(source) == (6, 8)
    with local_copy(source) as path:
        assert path.stem == name.partition(".")[0]
        assert np.array_equal(read_image(path), values)
        with rasterio.open(path) as copy:
            assert copy.crs.to_epsg() == 32611 and copy.transform == PLACE and copy.nodata == settings.get("nodata")
            assert read_georeference(copy) is not None


def test_a_part_of_a_file_is_named_as_gdal_names_it(write, tmp_path):
    values = write("many.nc", "netCDF", n_bands=3, FORMAT="NC4")
    with pytest.raises(BadInput, match=r"has several images; name one: gdal:netcdf:\S+many\.nc:Band1, gdal:netcdf:"):
        read_shape(*find("gdal:many.nc"))
    for text in ("gdal:NETCDF:many.nc:Band2", 'gdal:NETCDF:"many.nc":Band2', 'gdal:HDF5:"many.nc"://Band2'):
        (source,) = find(text)
        # Workers may run in another folder.
        assert str(tmp_path) in describe_source(source)
        # The rows of netCDF lie in the file from south to north, which its own driver turns round.
        step = -1 if "HDF5" in text else 1
        with local_copy(source) as path:
            assert np.array_equal(read_image(path)[::step], values[..., 1:2])


def test_the_parts_of_a_file_have_results_of_their_own(write, survey):
    write("many.nc", "netCDF", n_bands=3, FORMAT="NC4")
    sources = find("gdal:NETCDF:many.nc:Band1", 'gdal:HDF5:"many.nc"://Band2')
    result = survey(sources)
    assert [image.written[0].name for image in result.images] == [
        "many_Band1_threshold.png",
        "many_Band2_threshold.png",
    ]
    assert survey(sources).skipped == tuple(sources)


def test_a_part_may_be_named_before_its_file(write, tmp_path, monkeypatch):
    """Workers may run in another folder, where nothing lies; and a file may be called like the number of a part."""
    values = write("photo.ntf", "NITF")
    write("pages.tif", "GTiff")
    Path("1").touch()
    sources = find("gdal:GTIFF_DIR:1:pages.tif", "gdal:NITF_IM:0:photo.ntf")
    assert list(map(str, sources)) == [
        f"gdal:GTIFF_DIR:1:{tmp_path}/pages.tif", f"gdal:NITF_IM:0:{tmp_path}/photo.ntf",
    ]  # fmt: skip
    assert all(map(find_tag, sources))
    monkeypatch.chdir("/")
    for source, stem in zip(sources, ("pages_1", "photo_0"), strict=True):
        with local_copy(source) as path:
            assert path.stem == stem and np.array_equal(read_image(path), values)


def test_a_folder_may_have_a_colon(write, tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    write("a:b/many.nc", "netCDF", n_bands=2, FORMAT="NC4")
    values = write("a:b/pages.tif", "GTiff")
    monkeypatch.chdir("a:b")
    *parts, page = find("gdal:NETCDF:many.nc:Band1", 'gdal:HDF5:"many.nc"://Band2', "gdal:GTIFF_DIR:1:pages.tif")
    assert all(map(find_tag, (*parts, page)))
    monkeypatch.chdir("/")
    assert [result_path(part).stem for part in (*parts, page)] == ["many_Band1", "many_Band2", "pages_1"]
    assert [read_shape(part) for part in parts] == [(6, 8)] * 2
    with local_copy(page) as path:
        assert np.array_equal(read_image(path), values)


def test_a_pattern_and_a_list_stand_for_files(write, tmp_path):
    for name in ("a.asc", "b.asc"):
        write(name, "AAIGrid", dtype="float32")
    expected = [f"gdal:{tmp_path / name}" for name in ("a.asc", "b.asc")]
    (tmp_path / "some.txt").write_text("gdal:a.asc\ngdal:b.asc\n")
    for sources in (find("gdal:*.asc"), find("some.txt"), find("gdal:a.asc", "gdal:*.asc")):
        assert list(map(str, sources)) == expected
    with pytest.raises(MissingInput, match=r"gdal:\*\.grd matches no image; name another file"):
        find("gdal:*.grd")
    with pytest.raises(BadInput, match=r"a\.asc is not a JPEG, PNG or TIFF image of this machine"):
        find_images([as_source("gdal:a.asc")])


def test_a_file_is_done_once_and_again_where_it_has_changed(write, survey, tmp_path):
    write("photo.bmp", "BMP", n_bands=3)
    sources = find("gdal:photo.bmp")
    assert [image.written[0].name for image in survey(sources).images] == ["photo_threshold.png"]
    assert read_labelmap(tmp_path / "out" / "photo_threshold.png").labels.shape == (6, 8)
    assert survey(sources).skipped == tuple(sources)
    os.utime("photo.bmp", (1, 1))
    assert len(survey(sources).images) == 1


@pytest.mark.parametrize("text", [".", "*.png", "gdal:b.png", "some.txt"])
def test_a_file_that_is_only_called_so_is_a_file(tmp_path, monkeypatch, text):
    """Or a folder of others could make GDAL open what it likes."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "gdal:b.png", np.zeros((6, 8, 3), np.uint8))
    (tmp_path / "some.txt").write_text("gdal:b.png\n")
    (found,) = find_images([as_source(text)])
    assert found == tmp_path / "gdal:b.png" and not is_remote(found) and as_source(str(found)) == found


def test_an_address_is_no_pattern():
    (source,) = find("gdal:WMS:http://x.org/wms?SERVICE=WMS&LAYERS=a")
    assert name_for_gdal(source) == "WMS:http://x.org/wms?SERVICE=WMS&LAYERS=a"


def test_nobody_looks_whether_it_is_still_there():
    assert is_there(find_key(*find("gdal:a.nc")))


def test_the_name_of_a_file_is_kept_as_it_is_and_an_address_is_cut(write, survey, tmp_path):
    for name in ("what?1.bmp", "what?2.bmp"):
        write(name, "BMP", n_bands=3)
    result = survey(sources := find("gdal:what?1.bmp", "gdal:what?2.bmp"))
    assert [image.written[0].name for image in result.images] == ["what?1_threshold.png", "what?2_threshold.png"]
    assert [describe_source(source) for source in sources] == [f"gdal:{tmp_path}/what?{i}.bmp" for i in (1, 2)]
    assert describe_source(as_source("gdal:/me@home/a.nc")) == "gdal:/me@home/a.nc"
    assert describe_source(as_source("gdal:https://me:secret@x.org/a.nc?key=1")) == "gdal:https://x.org/a.nc"
    assert describe_source(as_source('gdal:NETCDF:"https://me:secret@x.org/a.nc?key=1"')).endswith(
        '"https://x.org/a.nc"'
    )


def test_layers_of_a_service_have_results_of_their_own(job, tmp_path):
    """Only what may open a door is left out."""
    job = replace(job, outputs=Outputs(out_dir=tmp_path))
    texts = (
        "WMS:https://x.org/wms?LAYERS=a&token=t0p", "WMS:https://x.org/wms?LAYERS=b&token=t0p",
        "WMS:https://x.org/wms?SERVICE=WMS&LAYERS=c&tk=1", "WMS:https://x.org/wms?SERVICE=WMS&LAYERS=c&tk=2",
        "WMTS:https://x.org/wmts.xml?key=t0p,layer=a", "WMTS:https://x.org/wmts.xml,layer=b,style=c",
        'NETCDF:"https://x.org/a.nc":b', 'NETCDF:"https://x.org/a.nc?sig=t0p":c',
        f"WMS:https://x.org/wms?LAYERS={'a,' * 100}b", f"WMS:https://x.org/wms?LAYERS={'a,' * 100}c",
    )  # fmt: skip
    sources = find(*(f"gdal:{text}" for text in texts))
    tasks, problems = list_tasks(sources, job)
    assert len(tasks) == len({find_key(source) for source in sources}) == len(texts) and not problems
    names = [job.list_targets(result_path(source))[0].name.removesuffix("_threshold.png") for source in sources]
    assert names[:2] + names[4:8] == [
        "wms_LAYERS_a",
        "wms_LAYERS_b",
        "wmts_layer_a",
        "wmts_layer_b_style_c",
        "a_b",
        "a_c",
    ]
    assert names[2].startswith("wms_LAYERS_c_...") and max(map(len, names)) < 100
    for source, key in zip(sources, map(find_key, sources), strict=True):
        assert find_key(as_source(key)) == key and result_path(as_source(key)) == result_path(source)
        assert "t0p" not in key


@pytest.mark.parametrize("word", ["overpass", "design", "keyword", "author", "signal", "passage", "skip", "users"])
def test_a_word_that_only_resembles_that_of_a_key_tells_images_apart(word):
    one, other = find(*(f"gdal:WMS:https://x.org/wms?LAYERS=a&{word}={value}" for value in "ab"))
    assert find_key(one) != find_key(other) and result_path(one) != result_path(other)


@pytest.mark.parametrize(
    "word", ["apikey", "api-key", "accessToken", "user.pwd", "AWSAccessKeyId", "Expires", "X-Amz-Date", "skt"]
)
def test_a_key_tells_no_images_apart(word):
    """It may be another tomorrow."""
    one, other = find(*(f"gdal:WMS:https://x.org/wms?LAYERS=a&{word}={value}" for value in "ab"))
    assert find_key(one) == find_key(other)


@pytest.mark.parametrize(
    "text",
    [
        "https://x.org/a.nc?X-Amz-Date=1&X-Amz-Credential=t0p%2F2&X-Amz-Signature=t0p",
        "https://x.org/a.nc?sv=1&se=2&sr=b&sp=r&sig=t0p%3D",
        "https://me:t0p@x.org/a.nc#access_token=t0p",
        "https://me:w@t0p@x.org/a.nc",
        "WMS:HTTPS://me:t0p@x.org/wms?layers=a",
        "WMS:https://x.org/wms?layers=a&toke%6e=t0p&gkt=t0p&t0p&map=https%3A%2F%2Fme:t0p%40x.org",
        "WMS:https://x.org/wms?layers=a;Password=t0p,t0p",
        "/vsicurl?pc_url_signing=yes&url=https%3A%2F%2Fx.org%2Fa.nc%3Fsig%3Dt0p",
        "PLMOSAIC:api_key=t0p,mosaic=a",
        "PG:dbname=a password='t0p t0p' table=b",
        'PG:dbname=a password="t0p t0p" table=b',
        r"PG:dbname=a password='a\'t0p' table=b",
        "PG:postgresql://me:t0p@host/db",
        "MongoDBv3:mongodb://me:t0p@host/db",
        "MSSQL:server=a;pwd=a t0p;database=b",
        "WMS:https://x.org/wms;jsessionid=t0p?layers=a",
        "https://me:a/t0p@x.org/a.nc",
        "<GDAL_WMS><ServerUrl>https://x.org/?tk=t0p&amp;layers=a</ServerUrl><UserPwd>me:t0p</UserPwd></GDAL_WMS>",
    ],
)
def test_nothing_that_opens_a_door_is_told(text):
    (source,) = find(f"gdal:{text}")
    told = [describe_source(source), find_key(source), str(without_key(source)), str(result_path(source))]
    assert not any("t0p" in one for one in told)
    assert all("layers=a" in one for one in told[:3]) == ("layers=a" in text)


def test_of_an_address_the_host_and_the_path_are_told():
    assert describe_source(as_source("https://x.org:80/a@b.tif;jsessionid=t0p")) == "https://x.org:80/a@b.tif"
    assert describe_source(as_source("https://me:a/t0p@x.org:80/b.tif?sig=t0p")) == "https://x.org:80/b.tif"


def test_a_file_is_called_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my token=1.nc").touch()
    assert describe_source(as_source("gdal:my token=1.nc")) == f"gdal:{tmp_path}/my token=1.nc"


def test_a_message_of_gdal_tells_no_key_either(monkeypatch):
    """It may have another part of the address in it than the name."""
    (source,) = find("gdal:WMS:https://127.0.0.1:9/wms?LAYERS=a&token=t0p")
    failure = rasterio.errors.RasterioIOError(
        "password='t0p t0p': https://127.0.0.1:9/wms?token=t0p&SERVICE=WMS does not answer"
    )
    monkeypatch.setattr("hybridseg.io.remote.open_trusted", Mock(side_effect=failure))
    with pytest.raises(HybridSegError, match=r"wms\?SERVICE=WMS does not answer") as caught:
        read_shape(source)
    assert "t0p" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing.nc", "words.txt", "", "link.nc"])
def test_what_gdal_cannot_read_is_a_problem_of_that_image(write, survey, tmp_path, name):
    write("photo.bmp", "BMP", n_bands=3)
    (tmp_path / "words.txt").write_text("no image")
    (tmp_path / "link.nc").symlink_to("nowhere.nc")
    result = survey(find(f"gdal:{name}", "gdal:photo.bmp"))
    assert len(result.images) == 1
    (problem,) = result.problems
    assert problem.where.startswith("gdal:") and "cannot be read by GDAL (" in problem.message


@pytest.mark.parametrize(
    "name", ["gdal:pipe.nc", 'gdal:NETCDF:"pipe.nc":depth', "gdal:link.nc", "gdal:/vsizip/pipe.nc/a.tif",
             "/vsizip/pipe.nc/a.tif", "/vsitar/pipe.nc/a.tif", "gdal:/dev/zero", "gdal:/vsistdin/",
             "/vsizip/{/dev/stdin}/a.tif", "/vsizip/{pipe.nc}/a.tif", "/vsizip//vsigzip//dev/zero/a.tif",
             "gdal:/vsisubfile/0_10,/dev/zero"],
)  # fmt: skip
def test_a_pipe_is_refused_at_once(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.nc")
    Path("link.nc").symlink_to("pipe.nc")
    (source,) = find(name)
    with pytest.raises(BadInput, match=r"^\S+ is a pipe or a device, not a file; save its output to a file first$"):
        read_shape(source)


@pytest.mark.parametrize("text", ["a:", ":", "a:/b:c", "https:/", "password='", ";a=", "/vsizip/", '"', "&a", "@"])
def test_no_text_takes_long(text):
    """No pattern searches it again from each of its letters."""
    began = time.monotonic()
    for end in ("", '\n"'):
        hide_keys(f"a:{text * (20_000 // len(text))}{end}")
    assert time.monotonic() - began < 5


def test_a_store_is_no_folder_of_this_machine():
    """Its names may be those of devices here."""
    for name in ("s3://dev/zero/a.tif", "gdal:s3://dev/zero", "/vsizip/vsis3/dev/zero/a.tif"):
        assert not is_endless(name_for_gdal(as_source(name)))


def test_a_folder_is_read_where_it_is_an_image(write, tmp_path):
    values = write("depth.zarr", "Zarr")
    (tmp_path / "empty").mkdir()
    source, empty = find("gdal:depth.zarr", "gdal:empty/")
    with local_copy(source) as path:
        assert np.array_equal(read_image(path), values)
    with pytest.raises(BadInput, match=r"empty cannot be read by GDAL \(.*\); check that it exists"):
        read_shape(empty)


def test_only_who_says_so_trusts(write, tmp_path):
    """Without the prefix GDAL may not choose, and the message says how it may."""
    write("photo.bmp", "BMP", n_bands=3)
    (source,) = find("photo.bmp")
    with pytest.raises(HybridSegError, match=r"also takes gdal:photo\.bmp"), local_copy(source) as path:
        read_image(path)
