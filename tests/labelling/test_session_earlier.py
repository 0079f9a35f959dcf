"""What a session takes over: earlier work, class lists, and labels of other tools."""

import io
import json

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, Conflict, MissingInput
from hybridseg.io.annotations.doodles import read_stage, read_strokes
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.labelling.jobs import JobRunner
from hybridseg.labelling.preview import Previewer

pytestmark = pytest.mark.usefixtures("quick_panels")


def test_scribbles_and_result_of_a_matfile_are_taken_over(photos, make_session, first, table, draw):
    labels = np.zeros((60, 90), np.uint8)
    labels[:, 45:] = 1
    seeds = np.zeros((60, 90), np.uint8)
    seeds[5, 5:9], seeds[5, 60] = 1, 2
    write_labelmap(photos / "a_mres.mat", LabelMap(labels, ClassTable.from_names(["Cliff", "sand"]), seeds))
    session = make_session()
    assert session.album.list_images()[0]["state"] == "done"
    state = session.describe(first)
    assert (state["n_strokes"], state["has_result"], state["stale"], state["state"]) == (2, True, False, "done")
    opened = session.album.open(first)[1]
    # Cliff is the third class here.
    assert (opened.drawing.seeds["scribbles"] == np.array([0, 3, 2])[seeds]).all()
    assert opened.view("result", slice(0, 1), slice(44, 46)).tolist() == [[3, 2]]
    assert not (photos / "a_doodles.json").exists()
    session.add_stroke(first, 1, draw(0))
    assert len(read_strokes(photos / "a_doodles.json").strokes) == 3


def test_a_matfile_without_scribbles_is_painted(photos, make_session, first, make_pair):
    labels = np.zeros((60, 90), np.uint8)
    labels[:, 45:] = 1
    make_pair(photos, "a", labels)
    state = make_session().describe(first)
    assert state["has_result"] and state["n_strokes"] == 2
    session = make_session()
    assert (session.album.open(first)[1].drawing.seeds["result"] == labels + 1).all()


def test_classes_of_earlier_work_join_the_list(photos, make_session, first, draw, table):
    session = make_session(table=ClassTable.from_names(["Kelp", "water", "rock"]))
    session.add_stroke(first, 1, draw(0))
    again = make_session()
    state = again.describe(first)
    assert again.album.table.names == ("water", "sand", "cliff", "Kelp") and state["classes_version"] == 2
    assert again.album.open(first)[1].drawing.seeds["scribbles"][10, 10] == 4
    assert make_session(table=None).describe(first)["n_strokes"] == 1


@pytest.mark.parametrize("name", ["a_doodles.json", "a_mres.mat"])
def test_what_is_kept_of_an_image_of_another_size(photos, make_session, first, draw, name, make_pair):
    if name == "a_mres.mat":
        make_pair(photos, "big", np.zeros((9, 9), np.uint8))
        (photos / "big_mres.mat").rename(photos / name)
    else:
        session = make_session()
        session.add_stroke(first, 1, draw())
        record = json.loads((photos / name).read_text())
        (photos / name).write_text(json.dumps({**record, "size": [61, 90]}))
    with pytest.raises(BadInput, match=f"{name} has .* pixels, but .* take it away"):
        make_session().describe(first)


def test_two_images_that_would_be_saved_as_one(photos, make_session):
    (photos / "a.jpg").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(BadInput, match=r"a\.png and .*a\.jpg would both be saved as a_doodles\.json"):
        make_session(("a.png", "a.jpg"))


def test_ids_say_nothing_of_paths_and_stay_the_same(make_session, photos):
    ids = [image["id"] for image in make_session().album.list_images()]
    assert ids == [image["id"] for image in make_session().album.list_images()]
    assert len(set(ids)) == 2 and all(len(i) == 16 and int(i, 16) >= 0 for i in ids)


def test_images_that_were_closed_keep_their_result(photos, make_session, draw, wait_for_job, monkeypatch):
    monkeypatch.setattr("hybridseg.labelling.album._MAX_OPEN", 1)
    session = make_session()
    jobs, (a, b) = JobRunner(session), (image["id"] for image in session.album.list_images())
    session.add_stroke(a, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(a, 2, draw(2, (10, 60), (50, 80)))
    jobs.start(a, 3, "run")
    before = wait_for_job(session, a)
    seen = session.album.open(a)[1].view("result", slice(0, 60), slice(0, 90)).copy()
    session.describe(b)
    assert session.album.entries[a].opened is None
    after = session.describe(a)
    assert after == before and after["has_result"] and not after["stale"]
    assert (session.album.open(a)[1].view("result", slice(0, 60), slice(0, 90)) == seen).all()


# Classes.


def test_classes_can_be_named_on_the_page(photos, make_session, first, draw):
    session = make_session(table=None)
    with pytest.raises(BadInput, match="no classes yet"):
        session.add_stroke(first, 1, draw())
    session.album.set_classes(1, ClassTable(("sea", "land"), ((0, 0, 255), (1, 2, 3))))
    session.add_stroke(first, session.describe(first)["version"], draw(1))
    assert (photos / "page_labels.txt").read_text() == "sea\nland\n"
    assert make_session(table=None).album.table == ClassTable(("sea", "land"), ((0, 0, 255), (1, 2, 3)))


def test_a_class_list_of_the_user_is_only_read(photos, make_session):
    (photos / "labels.txt").write_text("sea\nland\n")
    album = make_session(table=None).album
    album.set_classes(album.classes_version, ClassTable.from_names(["sea", "land", "dune"]))
    assert (photos / "labels.txt").read_text() == "sea\nland\n" and not (photos / "colors.txt").exists()
    assert make_session(table=None).album.table.names == ("sea", "land", "dune")


def test_classes_that_were_drawn_with_keep_their_name(session, make_session, first, draw, photos, table):
    session.add_stroke(first, 1, draw(1))
    moved = ClassTable(("new", "cliff", "sand"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    without = ClassTable(("water", "cliff"), ((1, 1, 1), (2, 2, 2)))
    for some in (session, make_session()):
        with pytest.raises(Conflict, match=r"a\.png is labelled with sand"):
            some.album.set_classes(1, without)
    session.album.set_classes(1, moved)
    assert session.album.open(first)[1].drawing.seeds["scribbles"][10, 10] == 3
    with pytest.raises(Conflict, match="changed in another tab"):
        session.album.set_classes(1, moved)
    # A change that was drawn on with the old list comes too late.
    with pytest.raises(Conflict):
        session.add_stroke(first, 2, draw(0))


def test_classes_in_another_order_while_an_image_is_closed(session, jobs, draw, table, wait_for_job, monkeypatch):
    """What was computed for it counts on the old places, and so does what a tab sends."""
    monkeypatch.setattr("hybridseg.labelling.album._MAX_OPEN", 1)
    a, b = (image["id"] for image in session.album.list_images())
    session.add_stroke(a, 1, draw(0, (10, 5), (50, 30)))
    session.add_stroke(a, 2, draw(2, (10, 60), (50, 80)))
    jobs.start(a, 3, "run")
    wait_for_job(session, a)
    session.describe(b)
    session.album.set_classes(1, ClassTable(table.names[::-1], table.colors[::-1]))
    with pytest.raises(Conflict):
        session.add_stroke(a, 3, draw(0))
    state = session.describe(a)
    assert not state["has_result"] and session.album.open(a)[1].drawing.seeds["scribbles"][10, 5] == 3


def test_class_names_meet_no_rule_of_html_or_paths(make_session, first, draw, photos):
    name = '<script>alert("x")</script> ../../etc'
    session = make_session(table=ClassTable((name,), ((1, 2, 3),)))
    session.add_stroke(first, 1, draw())
    assert read_strokes(photos / "a_doodles.json").table.names == (name,)
    assert sorted(path.name for path in photos.iterdir()) == ["a.png", "a_doodles.json", "b.png"]


# Time, and work of other tools.


def test_pauses_are_no_work(session, first, draw, monkeypatch):
    now = iter([100.0, 110.0, 1000.0, 1001.0])
    monkeypatch.setattr("hybridseg.labelling.entries.time.monotonic", lambda: next(now))
    for version in range(1, 5):
        session.add_stroke(first, version, draw())
    assert session.describe(first)["seconds"] == 10 + 60 + 1


def test_labels_of_other_tools(session, first, photos, tmp_path):
    path = tmp_path / "a.json"
    shapes = [{"label": "Sand", "shape_type": "polygon", "points": [[0, 0], [10, 0], [10, 5], [0, 5]]},
              {"label": "kelp", "shape_type": "line", "points": [[20, 20], [40, 20]]}]  # fmt: skip
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 60, "imageWidth": 90}))
    warnings = session.import_labels(first, 1, path)
    maps = session.album.open(first)[1].drawing.seeds
    assert (maps["result"][:5, :10] == 2).all() and np.count_nonzero(maps["result"]) == 50
    assert maps["scribbles"][20, 30] == 4 and session.album.table.names[3] == "kelp"
    assert any("kelp" in text for text in warnings)
    assert len(read_strokes(photos / "a_doodles.json").strokes) == 2


def test_an_import_that_is_undone_leaves_the_state_of_before(session, make_session, first, draw, photos, tmp_path):
    path = tmp_path / "labels" / "a.json"
    path.parent.mkdir()
    shapes = [{"label": "sand", "shape_type": "polygon", "points": [[k, 0], [k + 9, 0], [k, 5]]} for k in (0, 20)]
    path.write_text(json.dumps({"shapes": shapes, "imageHeight": 60, "imageWidth": 90}))
    entry = session.album.entries[first]

    def stage():
        return entry.state, read_stage(photos / "a_doodles.json"), len(entry.opened.drawing.log.strokes)

    session.import_labels(first, 1, path)
    assert stage() == ("imported", "imported", 2)
    session.undo(first, entry.version)
    assert stage() == ("untouched", "untouched", 0)
    # The next start says so, too, and does not bring it back by itself; redo does.
    again = make_session()
    assert again.album.entries[first].state == "untouched"
    again.import_all(path.parent)
    assert again.describe(first)["n_strokes"] == 0
    session.redo(first, entry.version)
    assert stage() == ("imported", "imported", 2)
    session.add_stroke(first, entry.version, draw())
    session.import_labels(first, entry.version, path)
    session.undo(first, entry.version)
    assert stage() == ("working", "working", 3)
    for _ in range(2):
        session.undo(first, entry.version)
    assert stage() == ("untouched", "untouched", 0)
    session.redo(first, entry.version)
    assert stage() == ("imported", "imported", 2), "nothing is lost"


def test_a_folder_of_labels(session, draw, tmp_path, make_pair):
    labels = np.zeros((60, 90), np.uint8)
    make_pair(tmp_path, "b", labels)
    (tmp_path / "b.png").unlink()
    a, b = (image["id"] for image in session.album.list_images())
    lines = session.import_all(tmp_path)
    assert session.describe(b)["n_strokes"] == 1 and session.describe(a)["n_strokes"] == 0
    assert len(lines) == 1 and lines[0].startswith("a.png: not imported")
    assert "1 of 2 already has strokes, so nothing was imported for it" in session.import_all(tmp_path)[-1]


def test_a_folder_without_any_label(session, tmp_path):
    with pytest.raises(
        MissingInput, match=r"has no labels for any of these images \(a.png, b.png\); looked for NAME.json"
    ):
        session.import_all(tmp_path)
    with pytest.raises(MissingInput, match=r"looked for NAME_mres.mat, NAME.png"):
        session.import_all(tmp_path, masks_only=True)


def test_a_file_of_one_image_is_not_taken_for_others(session, tmp_path):
    """The frames of a survey have one size: only the name tells whose labels a file holds."""
    a, b = (image["id"] for image in session.album.list_images())
    shapes = [{"label": "sand", "shape_type": "polygon", "points": [[0, 0], [10, 0], [10, 5], [0, 5]]}]
    record = {"shapes": shapes, "imageHeight": 60, "imageWidth": 90}
    for more, told in (({"imagePath": "C:\\photos\\a.png"}, "it was drawn on"), ({}, "does not say which image")):
        (tmp_path / "labels.json").write_text(json.dumps({**record, **more}))
        lines = session.import_all(tmp_path)
        assert session.describe(b)["n_strokes"] == 0 and any("b.png: not imported" in x and told in x for x in lines)
    assert session.describe(a)["n_strokes"] == 1


def test_classes_of_an_import_are_found_by_the_next_start(session, make_session, first, tmp_path):
    shapes = [{"label": "kelp", "shape_type": "polygon", "points": [[0, 0], [10, 0], [10, 5]]}]
    (tmp_path / "x.json").write_text(json.dumps({"shapes": shapes}))
    session.import_labels(first, 1, tmp_path / "x.json")
    assert make_session(table=None).album.table.names == ("water", "sand", "cliff", "kelp")


@pytest.fixture
def island(photos):
    """A photo with nodata right of column 70, and a hole in it."""
    import rasterio

    from hybridseg.io.rasters import quiet_rasterio

    image = np.full((60, 90), 30, np.uint8)
    image[:, 45:] = 200
    image[:, 70:], image[5:9, 5:9] = 0, 0
    settings = {"driver": "GTiff", "height": 60, "width": 90, "count": 1, "dtype": "uint8", "nodata": 0}
    with quiet_rasterio(), rasterio.open(photos / "island.tif", "w", **settings) as out:
        out.write(image, 1)
    return photos / "island.tif"


def test_where_there_is_no_picture_nothing_is_drawn(island, make_session, draw, wait_for_job, photos, run):
    from PIL import Image

    session = make_session(("island.tif",))
    jobs, image_id = JobRunner(session), session.album.list_images()[0]["id"]
    session.add_stroke(image_id, 1, draw(0, (20, 5), (50, 30)))
    session.add_stroke(image_id, 2, draw(2, (10, 50), (10, 88)))
    session.add_stroke(image_id, 3, draw(1, (30, 75), (50, 88)))
    seeds = session.album.open(image_id)[1].drawing.seeds["scribbles"]
    assert seeds[10, 60] == 3 and not seeds[:, 70:].any() and 2 not in seeds
    session.undo(image_id, 4)
    session.redo(image_id, 5)
    assert not seeds[:, 70:].any()
    picture = Previewer().preview(session.album.open(image_id)[1], (0, 0, 60, 90), session.options).picture
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGBA"))
    assert not pixels[:, 36:, 3].any() and pixels[:, 10:34, 3].all()
    jobs.start(image_id, 6, "accept")
    wait_for_job(session, image_id)
    view = session.album.open(image_id)[1].view("result", slice(0, 60), slice(0, 90))
    assert not view[:, 70:].any() and not view[6, 6] and (view[20:, 50:70] == 3).all()
    found = read_labelmap(photos / "island_mres.mat")
    assert (found.labels[:, 70:] == 255).all() and not (found.labels == 1).any() and not found.seeds[:, 70:].any()
    tile = np.asarray(Image.open(io.BytesIO(session.draw_tile(image_id, "picture", (0, 0, 0)))))
    assert tile[30, 60].mean() > 190 and 40 < tile[:, 75:].mean() < 65 and tile[:, 75:].std() > 4
    done = run("crf", island, photos / "island_doodles.json", "--out", photos / "out", "-s", "0.5",
               "--features", "none", "--theta", "8", "--color-scale", "10", "--threads", "1")  # fmt: skip
    assert done.exit_code == 0
    assert (read_labelmap(photos / "out" / "island_mres.mat").labels == found.labels).all()
