import csv
import json
import re

import numpy as np
import pytest

from hybridseg.classes import ClassTable
from hybridseg.errors import BadInput, MissingInput, OutputExists
from hybridseg.evaluation.pairs import TruthPair, find_glob_pairs, find_result_pairs, pair_by_stem
from hybridseg.evaluation.pixels import evaluate_pixels
from hybridseg.figures import FigureOptions
from hybridseg.io.images import read_image, write_image
from hybridseg.io.labels.formats import write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap

A = ClassTable.from_names(["water", "drysand", "dune"])
B = ClassTable.from_names(["dune", "Water", "dry_sand".replace("_", "")])
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 2]], np.uint8)
SAME_IN_B = np.array([[1, 1, 2, 2], [1, 1, 2, 0]], np.uint8)


def save(folder, name, labels, table=A):
    folder.mkdir(exist_ok=True)
    write_labelmap(folder / name, LabelMap(np.asarray(labels, np.uint8), table))


def test_pairs_in_another_class_order_agree_perfectly(tmp_path, quick_panels):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", SAME_IN_B, B)
    pairs, problems = find_result_pairs(tmp_path)
    result = evaluate_pixels(pairs, out_dir=tmp_path)
    assert problems == [] and result.pooled.accuracy == 1.0
    assert result.confusions["p_ares_96"].table.names == A.names


@pytest.mark.slow
def test_files_hold_what_was_counted(tmp_path):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", [[0, 0, 0, 1], [0, 0, 1, 1]])
    save(tmp_path, "q_mres_ANN.mat", TRUTH)
    save(tmp_path, "q_ares_96.mat", SAME_IN_B, B)
    pairs, _ = find_result_pairs(tmp_path)
    result = evaluate_pixels(pairs, out_dir=tmp_path / "scores")
    with (tmp_path / "scores" / "eval_pixels.csv").open() as file:
        rows = {(row["pair"], row["class"]): row for row in csv.DictReader(file)}
    dune = rows["p_ares_96", "dune"]
    assert [dune[name] for name in ("support", "precision", "recall", "f1", "iou")] == ["1", "0.0", "0.0", "0.0", "0.0"]
    assert float(rows["p_ares_96", "(accuracy)"]["f1"]) == 0.75
    assert float(rows["all pairs", "(accuracy)"]["f1"]) == 14 / 16
    record = json.loads((tmp_path / "scores" / "eval_pixels.json").read_text())
    assert record["pairs"]["p_ares_96"]["confusion"] == [[4, 0, 0], [1, 2, 0], [0, 1, 0]]
    assert record["pooled"]["accuracy"] == 14 / 16 and record["pairs"]["p_ares_96"]["classes"][2]["precision"] == 0
    with (tmp_path / "scores" / "eval_pixels_by_image.csv").open() as file:
        first, second = csv.DictReader(file)
    # By hand: Dice of water 8/9, of dry sand 4/6, of the dune 0, which was taken for dry sand.
    assert (first["image"], second["image"]) == ("p_ares_96", "q_ares_96") == tuple(one.image for one in result.images)
    assert float(first["dice"]) == pytest.approx((8 / 9 + 4 / 6) / 3) == pytest.approx(result.images[0].dice)
    assert (first["worst_class"], first["worst_dice"]) == ("dune", "0.0") and first["dice drysand"] == str(4 / 6)
    assert (first["true_class"], first["taken_for"], first["mistaken"]) == ("dune", "drysand", "1")
    assert (second["dice"], second["taken_for"]) == ("1.0", "") and record["pairs"]["q_ares_96"]["dice"] == 1
    for path in result.written[3:]:
        picture = read_image(path)
        assert min(picture.shape[:2]) > 300 and picture.std() > 10, path
    assert set(result.written) == {path for path in (tmp_path / "scores").rglob("*") if path.is_file()}
    assert record["figures"] == [
        "p_ares_96_confusion.png", "q_ares_96_confusion.png", "eval_pixels_confusion.png"
    ]  # fmt: skip
    assert result.not_shown == ("p_ares_96", "q_ares_96"), "there are no photos"


def test_a_class_that_only_the_machine_knows_counts_as_wrong(tmp_path, quick_panels):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", [[0, 0, 1, 1], [0, 0, 1, 3]], ClassTable.from_names([*A.names, "road"]))
    result = evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    assert result.pooled.accuracy == 7 / 8 and result.pooled.table.names[-1] == "road"


def test_lists_without_a_common_name_are_refused(tmp_path, quick_panels):
    """Such as those of another language: every pixel would count as wrong."""
    other = ClassTable.from_names(["eau", "sable", "dune blanche"])
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", TRUTH, other)
    pairs = find_result_pairs(tmp_path)[0]
    message = (
        r"nothing to compare:\n.*p_ares_96.mat: no class has the same name in both: "
        r"the truth has water, drysand, dune; the prediction has eau, sable, dune blanche"
    )
    with pytest.raises(BadInput, match=message):
        evaluate_pixels(pairs, out_dir=tmp_path)
    assert not (tmp_path / "eval_pixels.json").exists()
    save(tmp_path, "q_mres.mat", TRUTH)
    save(tmp_path, "q_ares_96.mat", TRUTH)
    result = evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    assert list(result.confusions) == ["q_ares_96"] and "p_ares_96.mat" in result.problems[0].where


def test_classes_of_one_side_are_named(tmp_path, quick_panels):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", np.zeros((2, 4)), ClassTable.from_names(["water", "Dune", "road"]))
    result = evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    assert (result.only_in_truth, result.only_in_prediction) == (("drysand",), ("road",))
    record = json.loads((tmp_path / "eval_pixels.json").read_text())
    assert (record["only_in_truth"], record["only_in_prediction"]) == (["drysand"], ["road"])
    assert record["pooled"]["left_out"] == ["road"]


def test_the_verdict_counts_photos_and_compares_with_the_tiles_alone(tmp_path, quick_panels):
    for i in range(3):
        save(tmp_path, f"p{i}_mres.mat", TRUTH)
        save(tmp_path, f"p{i}_ares_96.mat", TRUTH)
        save(tmp_path, f"p{i}_ares_48.mat", TRUTH)
        save(tmp_path, f"p{i}_atiles_96.mat", np.zeros((2, 4)))
    pairs = [
        TruthPair(tmp_path / f"p{i}_mres.mat", tmp_path / f"p{i}_ares_{n}.mat") for i in range(3) for n in (48, 96)
    ]
    verdict = evaluate_pixels(pairs, out_dir=tmp_path).verdict
    assert verdict.n_photos == 3 and "tiles alone" not in verdict.text
    for i in range(3):
        (tmp_path / f"p{i}_ares_48.mat").unlink()
    pairs = find_result_pairs(tmp_path)[0]
    verdict = evaluate_pixels(pairs, out_dir=tmp_path).verdict
    assert verdict.grade == "very good" and "more than the tiles alone (50 %)" in verdict.text
    assert "3 photos" in verdict.text
    for i in range(3):
        save(tmp_path, f"p{i}_ares_96.mat", np.zeros((2, 4)))
    verdict = evaluate_pixels(pairs, out_dir=tmp_path).verdict
    assert verdict.grade == "poor" and "about as many as the tiles alone" in verdict.text
    assert verdict.beaten_by == ("the tiles alone",) and verdict.skill == 0 and verdict.majority == 0.5
    assert json.loads((tmp_path / "eval_pixels.json").read_text())["verdict"]["text"] == verdict.text


@pytest.mark.slow
def test_figures_of_pairs_that_are_gone_go_too(tmp_path):
    """But no file of the user, and no figure of another command."""
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", TRUTH)
    evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    (tmp_path / "p_ares_96.mat").rename(tmp_path / "p_ares_48.mat")
    for name in ("mine_confusion.png", "p_ares_96.png", "holiday.jpg"):
        (tmp_path / "figures" / name).touch()
    svg = FigureOptions(figure_format="svg")
    evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path, figures=svg)
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["holiday.jpg", "mine_confusion.png", "p_ares_48_confusion.svg", "p_ares_96.png"]
    assert [path.name for path in tmp_path.glob("eval_pixels_confusion.*")] == ["eval_pixels_confusion.svg"]
    record = json.loads((tmp_path / "eval_pixels.json").read_text())
    for name in ("../p_mres.mat", "holiday.jpg", "/etc/a_confusion.png", 3):
        record["figures"].append(name)
    (tmp_path / "eval_pixels.json").write_text(json.dumps(record))
    evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    assert (tmp_path / "p_mres.mat").exists() and (tmp_path / "figures/holiday.jpg").exists()
    assert not (tmp_path / "figures/p_ares_48_confusion.svg").exists()


FOREIGN = ("eval_pixels.csv", "eval_pixels.json", "eval_pixels_by_image.csv", "eval_pixels_confusion.png")


@pytest.mark.parametrize("name", [*FOREIGN, "figures/p_ares_96_confusion.png"])
def test_files_of_others_are_not_replaced(tmp_path, quick_panels, name):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", np.zeros((2, 4)))
    pairs = find_result_pairs(tmp_path)[0]
    for _ in range(2):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(OutputExists, match=f"{name} is there and was not written by hybridseg; .*--out"):
            evaluate_pixels(pairs, out_dir=tmp_path)
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).unlink()
        evaluate_pixels(pairs, out_dir=tmp_path)


def test_a_figure_that_is_not_drawn_again_is_removed_if_it_is_ours(tmp_path, quick_panels):
    for stem in "pq":
        save(tmp_path, f"{stem}_mres.mat", TRUTH)
        save(tmp_path, f"{stem}_ares_96.mat", np.zeros((2, 4)))
    evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    old = tmp_path / "figures/q_ares_96_confusion.png"
    old.write_bytes(b"mine")
    (tmp_path / "q_ares_96.mat").unlink()
    evaluate_pixels(find_result_pairs(tmp_path)[0], out_dir=tmp_path)
    assert old.read_bytes() == b"mine"


def test_ignored_classes(tmp_path, quick_panels):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", np.zeros((2, 4)))
    pairs = find_result_pairs(tmp_path)[0]
    assert evaluate_pixels(pairs, out_dir=tmp_path, ignore=("drysand", "dune")).pooled.accuracy == 1.0
    [image] = evaluate_pixels(pairs, out_dir=tmp_path, ignore=("water",)).images
    assert image.class_dice == {"drysand": 0, "dune": 0}
    with pytest.raises(BadInput, match="no class is called 'null'; the classes are"):
        evaluate_pixels(pairs, out_dir=tmp_path, ignore=("null",))


def test_orphans_doubles_and_other_sizes_are_named(tmp_path, quick_panels):
    save(tmp_path, "p_mres.mat", TRUTH)
    save(tmp_path, "p_ares_96.mat", TRUTH)
    save(tmp_path, "orphan_ares_96.mat", TRUTH)
    save(tmp_path, "two_ares_96.mat", TRUTH)
    save(tmp_path, "two_mres.mat", TRUTH)
    save(tmp_path, "two_mres_ANN.mat", TRUTH)
    save(tmp_path, "size_mres.mat", TRUTH)
    save(tmp_path, "size_ares_96.mat", TRUTH[:, :3])
    pairs, problems = find_result_pairs(tmp_path)
    result = evaluate_pixels(pairs, out_dir=tmp_path, problems=problems)
    assert sorted(result.confusions) == ["p_ares_96"]
    text = "\n".join(map(str, result.problems))
    assert "has no manual label map (orphan_mres.mat, .png, _mask.png ...)" in text
    assert "has 2 manual label maps (two_mres.mat, two_mres_ANN.mat)" in text
    assert "the truth is 2 x 4 pixels but the prediction is 2 x 3" in text


def test_png_and_tiff_pairs_by_pattern(tmp_path, quick_panels):
    save(tmp_path / "masks", "p.png", TRUTH)
    save(tmp_path / "out", "p_label.tif", SAME_IN_B, B)
    pairs, _ = find_glob_pairs(tmp_path, truth="masks/*.png", prediction="out/*")
    assert evaluate_pixels(pairs, out_dir=tmp_path).pooled.accuracy == 1.0
    with pytest.raises(MissingInput, match="--prediction 'none/\\*' finds no"):
        find_glob_pairs(tmp_path, truth="masks/*.png", prediction="none/*")
    with pytest.raises(BadInput, match="give a pattern below"):
        find_glob_pairs(tmp_path, truth="/masks/*.png", prediction="out/*")


@pytest.mark.parametrize(("name", "prediction"), [
    ("p.png", "p_ares_96.mat"), ("p_mask.tif", "p_predseg.png"), ("p_label.png", "p_predseg_crf.png"),
    ("p_mres.mat", "p_predseg.png"),
])  # fmt: skip
@pytest.mark.parametrize("masks", ["masks", "out"])
def test_masks_of_other_tools(tmp_path, quick_panels, name, prediction, masks):
    save(tmp_path / "out", prediction, SAME_IN_B, B)
    write_image(tmp_path / "out" / "p.jpg", np.zeros((2, 4, 3), np.uint8))
    save(tmp_path / masks, name, TRUTH)
    pairs, problems = find_result_pairs(tmp_path / "out", tmp_path / masks)
    assert problems == [] and evaluate_pixels(pairs, out_dir=tmp_path).pooled.accuracy == 1.0
    if masks == "out":
        assert find_result_pairs(tmp_path / "out") == (pairs, [])


def test_results_of_some_images_alone(tmp_path):
    for name in "pq":
        save(tmp_path / "out", f"{name}_ares_96.mat", TRUTH)
        save(tmp_path / "masks", f"{name}.png", TRUTH)
        write_image(tmp_path / name / f"{name}.jpg", np.zeros((2, 4, 3), np.uint8))
    [pair], problems = find_result_pairs(tmp_path / "out", tmp_path / "masks", tmp_path / "q")
    assert pair.prediction_path.name == "q_ares_96.mat" and problems == []
    with pytest.raises(MissingInput, match="has no result of an image in"):
        find_result_pairs(tmp_path / "out", tmp_path / "masks", tmp_path / "out")


def test_a_photo_is_no_truth(tmp_path):
    save(tmp_path, "p_ares_96.mat", TRUTH)
    write_image(tmp_path / "p.png", np.zeros((2, 4, 3), np.uint8))
    pairs, [problem] = find_result_pairs(tmp_path)
    message = "has no manual label map (p_mres.mat, .png, _mask.png ...); say where it is: --images DIR, or --masks DIR"
    assert pairs == [] and problem.message == message


def test_a_map_of_ids_without_a_photo_is_the_truth(tmp_path):
    """As in a folder of results alone."""
    save(tmp_path, "p_ares_96.mat", SAME_IN_B, B)
    save(tmp_path, "p.png", TRUTH)
    for masks in (None, tmp_path):
        [pair], problems = find_result_pairs(tmp_path, masks)
        assert pair.truth_path.name == "p.png" and problems == []


def test_photos_among_the_masks_are_no_truth(tmp_path):
    photo = np.zeros((2, 4, 3), np.uint8)
    for name in "pqr":
        save(tmp_path / "out", f"{name}_predseg.png", SAME_IN_B, B)
    write_image(tmp_path / "masks" / "p.tif", photo)
    save(tmp_path / "masks", "p.png", TRUTH)
    write_image(tmp_path / "masks" / "q.jpg", photo)
    # It may be in class colours.
    write_image(tmp_path / "masks" / "r.png", photo)
    pairs, [problem] = find_result_pairs(tmp_path / "out", tmp_path / "masks")
    assert [pair.truth_path.name for pair in pairs] == ["p.png", "r.png"]
    # Where there is nothing but JPEG these are the masks, which must be converted.
    write_image(tmp_path / "blurred" / "q.jpg", photo)
    pairs, _ = find_result_pairs(tmp_path / "out", tmp_path / "blurred")
    with pytest.raises(BadInput, match=r"q.jpg is a JPEG, which changes class ids; .* hybridseg convert"):
        evaluate_pixels(pairs, out_dir=tmp_path)
    assert problem.where.endswith("q_predseg.png") and "has no manual label map" in problem.message


@pytest.mark.parametrize(("names", "listed"), [
    (["p_predseg.png", "p_predseg_crf.png"], "2 kinds (1 *_predseg.png, 1 *_predseg_crf.png)"),
    (["p_ares_96.mat", "q_ares_64.mat"], "2 kinds (1 *_ares_64.mat, 1 *_ares_96.mat)"),
    (["p_ares_96.mat", "q_ares_96.mat", "p_predseg.png"], "2 kinds (2 *_ares_96.mat, 1 *_predseg.png)"),
])  # fmt: skip
def test_results_of_several_kinds_make_no_one_score(tmp_path, names, listed):
    for name in names:
        save(tmp_path, name, TRUTH)
    save(tmp_path / "masks", "p.png", TRUTH)
    with pytest.raises(BadInput, match=re.escape(listed) + r", which make no one score; say which: --prediction '\*_"):
        find_result_pairs(tmp_path, tmp_path / "masks")
    with pytest.raises(BadInput, match=re.escape(listed)):
        find_glob_pairs(tmp_path, truth="masks/*.png", prediction="*")
    save(tmp_path, "p_ares_32_label.png", TRUTH)
    save(tmp_path, "p_ares_16_label.png", TRUTH)
    with pytest.raises(BadInput, match=re.escape("1 *_ares_16_label.png, 1 *_ares_32_label.png")):
        find_glob_pairs(tmp_path, truth="masks/*.png", prediction="*_label.png")
    [pair], _ = find_result_pairs(tmp_path, tmp_path / "masks", prediction=names[0])
    assert pair.prediction_path.name == names[0]


def test_nothing_to_compare(tmp_path):
    with pytest.raises(MissingInput, match="has no automatic result"):
        find_result_pairs(tmp_path)
    save(tmp_path, "p_ares_96.mat", TRUTH)
    pairs, problems = find_result_pairs(tmp_path)
    with pytest.raises(BadInput, match=r"nothing to compare:\n.*p_ares_96.mat: has no manual label map"):
        evaluate_pixels(pairs, out_dir=tmp_path, problems=problems)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p_ares_96.mat"]


def test_a_label_map_is_never_its_own_truth(tmp_path):
    """As when two patterns find the same files."""
    path = tmp_path / "p_mres.mat"
    pairs, [problem] = pair_by_stem([path], [path])
    assert pairs == [] and problem.where == str(path) and "manual" in problem.message


def test_a_tiff_photo_beside_its_mask_is_no_mask(tmp_path, table):
    labels = np.zeros((4, 4), np.uint8)
    for path in (tmp_path / "photos/a.png", tmp_path / "results/a_predseg.png"):
        write_labelmap(path, LabelMap(labels, table))
    write_image(tmp_path / "photos/a.tif", np.zeros((4, 4, 3), np.uint8))
    [pair], problems = find_result_pairs(tmp_path / "results", tmp_path / "photos", tmp_path / "photos")
    assert pair.truth_path.name == "a.png" and problems == []


def test_masks_are_looked_for_beside_the_results_and_then_with_the_images(tmp_path, table):
    labels = np.zeros((4, 4), np.uint8)
    places = ("results/a_predseg.png", "results/b_predseg.png", "results/b_mres.mat", "test/gt/a.png", "test/gt/b.png")
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        write_labelmap(tmp_path / place, LabelMap(labels, table))
    for name in "ab":
        write_image(tmp_path / f"test/{name}.jpg", np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "split.csv").write_text("set,masks_dir\ntest,/photos/gt\n")
    pairs, problems = find_result_pairs(tmp_path / "results", images_dir=tmp_path / "test")
    assert [pair.truth_path.name for pair in pairs] == ["a.png", "b_mres.mat"] and problems == []
    for name in "ab":
        (tmp_path / f"results/{name}_predseg.png").rename(tmp_path / f"test/{name}_predseg.png")
    pairs, problems = find_result_pairs(tmp_path / "test")
    assert [pair.truth_path.name for pair in pairs] == ["a.png", "b.png"] and problems == []
