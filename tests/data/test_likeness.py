"""Photos for testing that are close to photos for training are counted; others raise no alarm."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hybridseg.data.likeness import Look, describe_likeness, hash_view, list_same_views, look_at, read_day, spell_hash
from hybridseg.data.splitplan import group_images
from hybridseg.io.images import load_image

REAL = Path(__file__).parents[3] / "shared/data/obx/images"


def look(name, seed=None):
    """The look of a photo by its name, with a view of its own, or that of a seed."""
    view = np.random.default_rng([ord(letter) for letter in name] if seed is None else seed).normal(size=2304)
    return Look(name, read_day(name), (view / np.linalg.norm(view)).astype(np.float32))


def describe(train, test, **settings):
    looks = ([look(f"{name}.jpg") for name in names] for names in (train, test))
    return describe_likeness(*looks, **settings)


def find_expression(text):
    return re.search(r"--group-by '(.*?)'", text)[1]


def test_photos_of_one_day_by_their_names_however_they_are_spelt():
    # As the photos of one survey are called, in two spellings.
    train = ["2018-1006-135601-DSC04277-N7251F", "2018-10-07_20.15.44-DSC02461-N7251F", "2020-0208-175843-DSC09867"]
    test = ["2018-10-06_14.33.51-DSC06379-N7251F", "2020-0509-210006-DSC05326-N7251F", "elwhadamremoval"]
    text = describe(train, test)
    what = "1 of the 3 photos for testing is from the same day as photos for training"
    assert text.startswith(f"{what} (such as {test[0]}.jpg and {train[0]}.jpg)")
    groups = group_images([f"{name}.jpg" for name in train + test], find_expression(text))
    assert groups["2018-10-06"] == [f"{test[0]}.jpg", f"{train[0]}.jpg"] and len(groups) == 5
    assert "--group-by" not in describe(train, test, is_grouped=True)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("IMG_{}{}{}_120000", r"\d{8}"), ("{}-{}-{}_a", r"\d{4}-\d\d-\d\d"), ("{}-{}{}-1", r"\d{4}-\d{4}")],
)
def test_the_simplest_expression_is_proposed(pattern, expected):
    days = [("2020", "05", f"{day:02d}") for day in range(1, 6)]
    names = [pattern.format(*day) for day in days]
    text = describe([f"{name}1" if name[-1].isdigit() else f"{name}b" for name in names], names)
    assert text.startswith("all 5 photos for testing are from the same day") and find_expression(text) == expected


def test_a_single_day_says_nothing_of_others():
    assert describe(["20180610_1", "20180610_2"], ["20180610_3"]).startswith("all photos are from one day, 2018-06-10;")


def test_views_that_are_nearly_the_same():
    train, test = [look("a.jpg", 1), look("b.jpg", 2)], [look("c.jpg", 2), look("d.jpg", 3)]
    text = describe_likeness(train, test)
    assert text.startswith("1 of the 2 photos for testing is of nearly the same view as photos for training")
    assert "(such as c.jpg and b.jpg)" in text
    assert text.endswith("keep such photos in one set, with --group-by")
    assert describe_likeness(train, test[1:]) == ""


def test_the_same_view_on_the_same_day_is_told_once():
    train, test = [look("20180610_a.jpg", 1), look("20180611_a.jpg")], [look("20180610_b.jpg", 1), look("x.jpg")]
    text = describe_likeness(train, test)
    assert text.startswith("1 of the 2 photos for testing is from the same day") and "view" not in text


def test_names_of_a_series():
    frames = [f"flight{i}_{j:03d}" for i in range(4) for j in range(3)]
    text = describe(frames[::2], frames[1::2])
    assert "named like photos for training (flight0, flight1, flight2, ...)" in text
    assert list(group_images(frames, find_expression(text))) == ["flight0", "flight1", "flight2", "flight3"]
    assert describe(frames[:6], frames[6:]) == ""


@pytest.mark.parametrize(
    "names",
    [
        [f"scene_{i:02d}" for i in range(12)],
        [f"DSC{i:05d}" for i in range(400, 412)],
        [f"{i}" for i in range(12)],
        [f"beach{i:02d}" for i in range(6)] + [f"river{i:02d}" for i in range(6)],
        ["Sandwhich-20160953FA", "usgwhpprsgswhcmsricohgr0100219", "elwhadamremoval", "2017_BL32_1000_1226"],
        [f"site_{letter}" for letter in "abcdefghijkl"],
    ],
)
def test_distinct_photos_raise_no_alarm(names):
    assert describe(names[::2], names[1::2]) == ""


def test_the_look_of_files(tmp_path):
    """EXIF tells the day of a photo; a photo that was saved again, smaller, has the same view, another has not."""
    rows, cols = np.mgrid[:300, :400]
    coast = np.where(rows > 140 + 30 * np.sin(cols / 40), 200, 40) + np.random.default_rng(0).normal(0, 9, rows.shape)
    image = Image.fromarray(np.clip(coast, 0, 255).astype(np.uint8)).convert("RGB")
    exif = image.getexif()
    exif.get_ifd(0x8769)[0x9003] = "2018:10:06 13:56:01"
    image.save(tmp_path / "a.jpg", exif=exif)
    image.resize((200, 150)).save(tmp_path / "b.jpg", quality=50)
    image.rotate(180).save(tmp_path / "c.png")
    a, b, c = (look_at(load_image(tmp_path / name)) for name in ("a.jpg", "b.jpg", "c.png"))
    assert (a.day, b.day, c.day) == ("2018-10-06", "", "")
    assert a.view @ b.view > 0.98 > 0.5 > a.view @ c.view
    flat = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 9, 9)).save(flat, "png")
    (tmp_path / "d.png").write_bytes(flat.getvalue())
    assert np.all(look_at(load_image(tmp_path / "d.png")).view == 0)


@pytest.mark.skipif(not REAL.is_dir(), reason="the photos are not here")
def test_real_photos_of_other_days_are_not_taken_for_one_view():
    by_day = {read_day(path.stem): path for path in sorted(REAL.glob("*.jpg")) if read_day(path.stem)}
    looks = [look_at(load_image(path)) for path in by_day.values()]
    assert len(looks) >= 8 and describe_likeness(looks[::2], looks[1::2]) == ""


def test_a_perceptual_hash_of_copies_and_of_others():
    rng = np.random.default_rng(0)
    views = [
        np.asarray(Image.fromarray(rng.normal(0, 1, (5, 7)).astype(np.float32)).resize((32, 24))) for _ in range(3)
    ]
    brighter, noisy = 2 * views[0] + 5, views[0] + rng.normal(0, 0.05, (24, 32))
    units = [np.repeat((view - view.mean())[..., None], 3, axis=2).ravel() for view in (*views, brighter, noisy)]
    looks = np.array([unit / np.linalg.norm(unit) for unit in units], np.float32)
    bits = np.array([hash_view(one) for one in looks])
    assert bits.shape == (5, 64) and (bits[0] == bits[3]).all() and (bits[0] != bits[4]).sum() < 10
    assert (bits[0] != bits[1]).sum() > 18 and len(spell_hash(bits[0])) == 16
    assert spell_hash(np.arange(64) < 4) == "f000000000000000"
    assert list_same_views(looks) == [(0, 3), (0, 4), (3, 4)] and list_same_views(looks[:1]) == []


def test_a_hash_alone_is_no_proof():
    """Two views with the same lowest frequencies, which differ in all that is finer."""
    rng = np.random.default_rng(1)
    coarse = np.asarray(Image.fromarray(rng.normal(0, 1, (5, 7)).astype(np.float32)).resize((32, 24)))
    fine = [coarse + 0.6 * np.where(np.add(*np.indices((24, 32))) % 2, sign, -sign) for sign in (1, -1)]
    units = [np.repeat(view[..., None], 3, axis=2).ravel() for view in fine]
    looks = np.array([unit / np.linalg.norm(unit) for unit in units], np.float32)
    assert (hash_view(looks[0]) != hash_view(looks[1])).sum() <= 8 and 0.3 < looks[0] @ looks[1] < 0.9
    assert list_same_views(looks) == []
