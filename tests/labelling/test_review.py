import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hybridseg.batch.manifest import ImageFacts, Manifest
from hybridseg.batch.rank import rank_results
from hybridseg.batch.results import ImageResult, write_confidence
from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.labels.labelpng import write_labelpng
from hybridseg.io.labels.matfiles import write_matfile
from hybridseg.labelling.review import ReviewSession
from hybridseg.web.gate import Gate
from hybridseg.web.reviewing import create_comparison_app
from hybridseg.web.serve import Page, open_comparison_page, serve


@pytest.fixture
def reviewed(photos, table, make_pair):
    """`a` has both maps, which differ in a quarter; `b` only an automatic one, 70 % sure; `c` both, the same."""
    from hybridseg.io.images import write_image

    manual = np.zeros((60, 90), np.uint8)
    manual[:, 45:] = 1
    write_matfile(photos / "a_mres.mat", LabelMap(manual, table))
    other = ClassTable.from_names(["sand", "kelp", "water"])
    automatic = np.full((60, 90), 2, np.uint8)
    automatic[:30, 45:], automatic[30:, 45:] = 0, 1
    write_matfile(photos / "a_ares_96.mat", LabelMap(automatic, other))
    write_labelpng(photos / "b_predseg.png", LabelMap(manual, table))
    confidence = np.full((60, 90), 0.7, np.float32)
    confidence[:5] = np.nan
    write_confidence(photos / "b_predseg_confidence.tif", confidence, None)
    make_pair(photos, "c", manual)
    write_matfile(photos / "c_ares_96.mat", LabelMap(manual, table))
    write_image(photos / "unlabelled.png", np.zeros((60, 90, 3), np.uint8))
    return photos


def test_what_disagrees_most_comes_first(reviewed):
    session = ReviewSession(reviewed)
    items = session.list_items()
    assert [item["name"] for item in items] == ["a.png", "b.png", "c.png"]
    assert [item["disagreement"] for item in items] == [0.25, None, 0.0]
    assert items[0]["uncertainty"] is None and items[1]["uncertainty"] == pytest.approx(0.3)
    assert [item["has"] for item in items] == [
        ["manual", "automatic", "disagreement"], ["automatic"], ["manual", "automatic", "disagreement"]
    ]  # fmt: skip
    assert session.table.names == ("water", "sand", "cliff", "kelp")
    assert session.list_confusions(items[0]["id"]) == [{"manual": "sand", "automatic": "kelp", "share": 0.25}]
    assert session.list_confusions(items[1]["id"]) == [] == session.list_confusions(items[2]["id"])


def test_the_images_of_a_run_come_in_the_order_of_rank(reviewed, tmp_path):
    results, photos = tmp_path / "results", [reviewed / f"{name}.png" for name in "abc"]
    results.mkdir()
    manifest = Manifest.read(results)
    manifest.begin(photos, job="", settings={}, engine="")
    for photo, entropy in zip(photos, (0.2, 0.7, 0.4), strict=True):
        target = results / f"{photo.stem}_predseg.png"
        target.write_bytes((reviewed / "b_predseg.png").read_bytes())
        result = ImageResult(photo, (target,), {}, (), {}, measures={"entropy": entropy})
        manifest.add(photo, result, ImageFacts(), job="")
    (reviewed / "c_mres.mat").unlink()
    items = ReviewSession(results).list_items()
    # What was labelled by hand comes first, as far as it disagrees.
    assert [item["name"] for item in items] == ["b.png", "c.png", "a.png"]
    assert [item["uncertainty"] for item in items] == [0.7, 0.4, 0.2]
    assert items[2]["has"] == ["manual", "automatic", "disagreement"] and items[2]["disagreement"] == 0
    assert [Path(one.image).stem for one in rank_results([results]).images] == ["b", "c", "a"]


@pytest.mark.parametrize("ending", ["predseg", "predseg_crf"])
def test_the_newest_automatic_result_is_shown(reviewed, table, ending):
    write_labelpng(reviewed / f"a_{ending}.png", LabelMap(np.full((60, 90), 2, np.uint8), table))
    assert ReviewSession(reviewed).list_items()[0]["disagreement"] == 1.0


def test_pictures_and_maps(reviewed):
    from PIL import Image

    gate = Gate()
    app = create_comparison_app(ReviewSession(reviewed), gate)
    client = app.test_client()
    assert client.get("/api/review").status_code == 403
    client.get(f"/?token={gate.token}")
    client.environ_base["HTTP_X_PAGE_KEY"] = gate.key
    assert client.get("/").mimetype == "text/html"
    told = client.get("/api/review").json
    first, second = told["items"][0]["id"], told["items"][1]["id"]

    def pixels(layer):
        data = client.get(f"/api/review/{first}/{layer}/0/0/0").data
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))

    assert pixels("manual")[50, 80].tolist() == [255, 255, 0, 255]
    # Kelp has the colour of its own file.
    assert pixels("automatic")[10, 10, 3] == 255 and pixels("picture").shape == (60, 90, 4)
    differs = pixels("disagreement")
    assert differs[50, 80, 3] == 255 and differs[10, 80, 3] == 0 and differs[50, 10, 3] == 0
    assert client.get(f"/api/review/{first}").json["confusion"][0]["manual"] == "sand"
    assert client.get(f"/api/review/{second}/manual/0/0/0").status_code == 404
    assert client.get(f"/api/review/{'0' * 16}/picture/0/0/0").status_code == 404
    assert client.get(f"/api/review/{first}/picture/7/0/0").status_code == 404


def test_files_that_cannot_be_used_are_told(reviewed, table):
    write_matfile(reviewed / "b_mres.mat", LabelMap(np.zeros((5, 5), np.uint8), table))
    (reviewed / "c_ares_96.mat").write_bytes(b"broken")
    session = ReviewSession(reviewed)
    assert [item["name"] for item in session.list_items()] == ["a.png"]
    assert [problem.where for problem in session.problems] == ["b.png", "c.png"]
    assert "has 5 x 5 pixels, but b.png has" in session.problems[0].message


def test_a_folder_without_results(photos, tmp_path):
    with pytest.raises(MissingInput, match="no image with a result beside it"):
        ReviewSession(photos)
    with pytest.raises(MissingInput, match="there is no folder"):
        ReviewSession(tmp_path / "none")


@pytest.fixture
def people(photos, table):
    """Ann and Bob label `a`, on half of which they differ, and `b`, on which they agree; `c` is Ann's alone."""
    maps = {"a": np.zeros((60, 90), np.uint8), "b": np.zeros((60, 90), np.uint8)}
    maps["a"][:, 45:] = maps["b"][:, 30:] = 1
    for person in ("Ann", "Bob"):
        home = photos / "annotators" / person
        home.mkdir(parents=True)
        for name, labels in maps.items():
            drawn = np.where(labels == 1, 2, labels) if (person, name) == ("Bob", "a") else labels
            write_matfile(home / f"{name}_mres.mat", LabelMap(drawn.astype(np.uint8), table))
    write_matfile(photos / "annotators" / "Ann" / "c_mres.mat", LabelMap(maps["a"], table))
    return photos / "annotators"


def test_two_people_are_compared(people):
    session = ReviewSession(people / "Ann", people / "Bob")
    assert session.sides == ("Ann", "Bob")
    a, b = session.list_items()
    assert (a["name"], a["disagreement"], b["name"], b["disagreement"]) == ("a.png", 0.5, "b.png", 0.0)
    # Half of it by chance a quarter: (0.5 - 0.25) / (1 - 0.25).
    assert a["kappa"] == pytest.approx(1 / 3) and b["kappa"] == 1.0
    assert session.list_confusions(a["id"]) == [{"manual": "sand", "automatic": "cliff", "share": 0.5}]
    assert [str(problem) for problem in session.problems] == [
        f"{people / 'Ann'}: has images that the other lacks (1): c"
    ]


def test_two_runs_are_compared_on_images_that_lie_elsewhere(people, photos, tmp_path):
    folders = [tmp_path / "runs" / name / "maps" for name in ("one", "two")]
    for folder, person in zip(folders, ("Ann", "Bob"), strict=True):
        folder.mkdir(parents=True)
        (folder / "a_ares_96.mat").write_bytes((people / person / "a_mres.mat").read_bytes())
    with pytest.raises(MissingInput, match="--images DIR"):
        ReviewSession(*folders)
    session = ReviewSession(*folders, images_dir=photos)
    assert session.sides == ("one/maps", "two/maps")
    assert [item["disagreement"] for item in session.list_items()] == [0.5]
    with pytest.raises(BadInput, match="the same folder"):
        ReviewSession(folders[0], folders[0])


def test_where_nothing_is_drawn_no_drawing_is_on_disk(people, monkeypatch):
    said = []
    monkeypatch.setattr(Page, "wait", Page.stop)
    serve(
        partial(open_comparison_page, ReviewSession(people / "Ann", people / "Bob")),
        say=said.append,
        open_browser=False,
    )
    assert said[-1] == "Stop with Ctrl-C."
