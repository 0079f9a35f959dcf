"""A name that a class may have comes back from every file that holds classes, byte for byte."""

import csv
import html
import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridseg.classes import ClassTable, check_name, class_key
from hybridseg.errors import BadInput
from hybridseg.io.annotations.formats import read_annotations
from hybridseg.io.annotations.items import extend_table
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.labels.formats import read_labelmap, write_labelmap
from hybridseg.io.labels.labelmaps import LabelMap
from hybridseg.io.samples import decode_json, encode_json
from hybridseg.io.tables import read_csv, write_csv
from hybridseg.markup import render_legend

quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_name(name: str) -> bool:
    try:
        check_name(name)
    except BadInput:
        return False
    return True


texts = st.text(st.one_of(st.sampled_from("a,\"';#=<&\\/ \u00a0é\u0301"), st.characters(codec="utf-8")), max_size=12)
names = texts.map(lambda text: f"x{text}y") | texts.map(lambda text: f'"{text}z') | texts
tables = st.lists(names.filter(is_name), min_size=1, max_size=5, unique_by=class_key).map(ClassTable.from_names)


@quick
@given(table=tables)
def test_class_files_hold_every_name(tmp_path, table):
    paths = {name: tmp_path / f"{name}.txt" for name in ("labels_path", "colors_path", "labeldefs_path")}
    write_class_files(table, **paths)
    assert read_class_files(paths["labels_path"], paths["colors_path"]) == table
    assert read_class_files(paths["labeldefs_path"]) == table


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mat", "a.png", "a.tif"])
@quick
@given(table=tables)
def test_label_maps_hold_every_name(tmp_path, name, table):
    write_labelmap(tmp_path / name, LabelMap(np.zeros((1, 2), np.uint8), table))
    assert read_labelmap(tmp_path / name).table == table
    for path in tmp_path.glob("*.aux.xml"):
        assert tuple(one.text for one in ElementTree.parse(path).iter("Category")) == table.names
    for path in tmp_path.glob("*.qml"):
        assert tuple(one.get("label") for one in ElementTree.parse(path).iter("paletteEntry")) == table.names


@quick
@given(table=tables)
def test_tables_pages_and_databases_hold_every_name(tmp_path, table):
    write_csv(tmp_path / "scores.csv", ("class", "iou"), [{"class": name, "iou": 1} for name in table])
    assert [row["class"] for row in read_csv(tmp_path / "scores.csv", ("class",))] == list(table.names)
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in csv.reader(file)][1:] == list(table.names)
    legend = html.unescape(render_legend((name, "#000000") for name in table))
    assert all(name in legend for name in table)
    record = {"classes": table.to_records()}
    assert ClassTable.from_records(decode_json(encode_json(record))["classes"]) == table


@quick
@given(text=texts)
def test_what_other_programs_call_a_class_is_held_or_refused(tmp_path, text):
    """A category of COCO and a label of labelme: a clear error, or a name that every class file holds."""
    shape = {"label": text, "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}
    labelme = {"version": "5.0", "shapes": [shape], "imagePath": "a.png", "imageHeight": 8, "imageWidth": 8}
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": text}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}],
    }
    for name, record in (("labelme.json", labelme), ("coco.json", coco)):
        path = tmp_path / name
        path.write_text(json.dumps(record))
        try:
            [item] = read_annotations(path, shape=(8, 8), image_name="a.png").items
        except BadInput as error:
            assert str(path) in str(error) and not is_name(" ".join(text.split()))
            continue
        table = extend_table(None, [item.name], {})
        write_class_files(table, labeldefs_path=tmp_path / "defs.txt")
        assert read_class_files(tmp_path / "defs.txt") == table


def test_a_comma_in_a_class_file(tmp_path):
    path = tmp_path / "labels.txt"
    table = ClassTable.from_names(["gravel, wet", 'sand "dry"', '"kelp"', "a,b,c"])
    write_class_files(table, labels_path=path, labeldefs_path=tmp_path / "defs.txt")
    assert path.read_text() == '"gravel, wet"\nsand "dry"\n"""kelp"""\n"a,b,c"\n'
    assert (tmp_path / "defs.txt").read_text().startswith('"gravel, wet", ')
    # Files of others: quotes that stand for themselves, and a comma without quotes after the first line.
    path.write_text('"sand" dry\n"kelp"\ngravel, wet\n')
    assert read_class_files(path).names == ('"sand" dry', '"kelp"', "gravel, wet")
    path.write_text('"gravel, wet", 1, 2, 3\n')
    assert read_class_files(path) == ClassTable(("gravel, wet",), ((1, 2, 3),))


@pytest.mark.parametrize("content", ["sand\x1bdune\n", "sand\u2028dune\n", "sand\x85dune", "\u202esand", "a" * 300])
def test_a_class_file_with_what_no_class_can_be_called(tmp_path, content):
    path = tmp_path / "labels.txt"
    path.write_text(f"water\n{content}", encoding="utf-8")
    with pytest.raises(BadInput, match="the class name") as caught:
        read_class_files(path)
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
