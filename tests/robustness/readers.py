"""Every function of the package that reads what a user gives it, with the files that are damaged to try it.

`discovery` goes through the package; a test fails for a reader that is neither here nor in its `NOT_READERS`.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from discovery import Reader
from mosaicseeds import OUT, copy_small, find_whole
from seeds import SHAPE, TABLE, TILE, Tiny, use_card

from hybridseg.batch.madeby import check_place, explain_difference, names_model
from hybridseg.batch.manifest import Manifest
from hybridseg.batch.results import read_confidence
from hybridseg.batch.status import read_status
from hybridseg.classes import ClassTable
from hybridseg.data import cocoimport, convert, survey
from hybridseg.data.split import read_split
from hybridseg.data.splitplan import choose_others
from hybridseg.demo.demoscenes import SceneOptions, write_demo_scenes
from hybridseg.dense import datasets, lmdbpairs, recordpairs, runs, warmstart
from hybridseg.dense.policy import read_policy
from hybridseg.dense.programs import config, fcnfolders
from hybridseg.dense.programs.configproposal import propose_config
from hybridseg.hybrid import evaltiles, tilefolder, tuning
from hybridseg.hybrid.tiles import read_tile
from hybridseg.io import (
    arrays,
    geotiffs,
    images,
    imgcheck,
    jsonfiles,
    lazyimages,
    lmdbpages,
    lmdbstore,
    masks,
    mosaics,
    rasters,
    samples,
    tables,
    textfiles,
    tfrecords,
    tiffcheck,
    windows,
)
from hybridseg.io.annotations import coco, doodler, doodles, formats, labelme, painted, runlengths
from hybridseg.io.archives import list_archived, unpack_archive
from hybridseg.io.bands import stack_bands
from hybridseg.io.labelled import load_labelled
from hybridseg.io.labels import classfiles, classids, labelmaps, labelpng, labeltiff, mat5, matfiles, pngcheck
from hybridseg.io.labels.formats import read_labelmap, read_made_by
from hybridseg.io.marks import is_ours
from hybridseg.io.pairing import Pair, find_images
from hybridseg.io.pictures import open_picture, read_orientation, unpack_picture
from hybridseg.labelling import opening, review, shelf, spread, strokeimport
from hybridseg.models import backbones, bundles, catalog, checkpoints, graphs, litegraphs, sam, store
from hybridseg.models.architectures import parse_architecture
from hybridseg.models.cards import read_card_file
from hybridseg.models.hubmodules import read_module
from hybridseg.models.runtimes import read_runtime, try_runtime
from hybridseg.models.weightfile import load_weights, read_weights
from hybridseg.page import is_page_of_ours
from hybridseg.study.findings import read_findings
from hybridseg.study.inputs import StudyOptions, StudyPaths
from hybridseg.study.steps import StepLog
from hybridseg.study.story import read_scores


def record_of(path: Path) -> Any:
    """Return what `parse_...` is given: the object of a JSON file."""
    return jsonfiles.read_json_object(path, errors="surrogateescape")


def value_of(path: Path) -> Any:
    """Return one value of a JSON file."""
    record = record_of(path)
    return next(iter(record.values()), None)


def parse_strokes(path: Path) -> None:
    rows = record_of(path).get("strokes")
    for row in rows if isinstance(rows, list) else ():
        doodles.parse_stroke(row)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def load_picture(path: Path) -> None:
    images.describe_image(path)
    with open_picture(path) as picture:
        rasters.check_pixel_count(path, picture.height, picture.width)
        unpack_picture(picture)


def open_window(path: Path) -> None:
    opened = windows.open_windows(path)
    opened.read(slice(0, 8), slice(2, 20), (4, 9))
    opened.valid()


def read_raster(path: Path) -> None:
    with rasters.open_raster(path) as dataset:
        rasters.check_pixel_count(path, dataset.height, dataset.width)
        images.measure_resolution(rasters.read_georeference(dataset))


def read_database(path: Path) -> None:
    database = lmdbstore.Database(path.parent)
    database.read(0)


def read_pairs(path: Path) -> None:
    recordpairs.open_records(path.parent).read(0)


def read_record_at(path: Path) -> None:
    """Read the first record with the checksum that the index would have."""
    data = path.read_bytes()
    n_bytes = min(len(data), 16 + int.from_bytes(data[:8], "little"))
    tfrecords.read_record(path, tfrecords.RecordPlace(0, n_bytes, zlib.crc32(data[:n_bytes])))


def import_anything(path: Path) -> None:
    for kind in ("labels", "masks"):
        options = cocoimport.CocoImportOptions(layout=kind, group_by=None)
        cocoimport.import_coco(path, images_dir=path.parent, out_dir=path.parent / OUT / kind, options=options)


def open_labelling(path: Path) -> None:
    opened, _ = opening.open_session([path.parent / "a.png"])
    image_id = opened.album.list_images()[0]["id"]
    opened.describe(image_id)
    opened.draw_tile(image_id, "scribbles", (0, 0, 0))


def fit_graph(path: Path) -> None:
    content = path.read_bytes()
    litegraphs.check_lite(content)
    litegraphs.fit_lite(content, (2 * TILE, TILE))


def run_graph(path: Path) -> None:
    """Run a graph as the process does that tries it first: here without the process, which would take a second."""
    try_runtime((1, TILE, TILE, 3), path.read_bytes())


@cache
def make_tiny() -> Any:
    return Tiny(n_bands=3, n_outputs=3).build()


def parse_pb(path: Path) -> None:
    graphs.parse_graph(path, graphs.read_content(path))


def read_study(path: Path) -> None:
    inputs: Any = SimpleNamespace(sets={"unlabelled": 0}, table=TABLE)
    home = path.parents[2]
    repr(read_findings(StudyPaths(home, out_dir=home), StudyOptions("hybrid"), inputs))


def read_tiny_module(path: Path) -> None:
    """Read a module as its two callers do: what TensorFlow raises is explained there."""
    with backbones._explained_errors("tiny", "TF2"):
        read_module(next(folder for folder in path.parents if folder.name == "tiny"))


def load_archive(path: Path) -> None:
    backbones.load_backbone(str(path))


PICTURES = "pictures/*"
IMAGINE_ENVI = "imagine_envi/*.img imagine_envi/*.hdr imagine_envi/*.dat"
MOSAICS = f"mosaics/*.vrt mosaics/*.jp2 mosaics/*.j2k {IMAGINE_ENVI}"
LABELS = "labels/*.mat labels/*.png labels/*.tif"
JSONS = "annotations/*.json texts/*.json results/*.json"
VALUES = "texts/values/*.json"
LISTS = "texts/labels.txt texts/labeldefs.txt texts/colors.txt texts/split.csv"
ANNOTATIONS = "annotations/*.json annotations/*.npz labels/*.mat labels/colors.png"
NAMED = {"shape": SHAPE, "image_name": "a.png"}
WRITES = {"writes": True}
# They start a process that needs TensorFlow.
TRIES = {"seconds": 90}
DATABASE = "database/*/data.mdb"

READERS = tuple(
    Reader(*row[:3], **(row[3] if len(row) > 3 else {}))
    for row in (
        ("io.rasters.sniff_format", PICTURES, rasters.sniff_format, {"share": 0.1}),
        ("io.rasters.open_raster", PICTURES, read_raster),
        ("io.images.describe_image", PICTURES, images.describe_image),
        ("io.images.load_image", PICTURES, images.load_image, {"share": 2}),
        ("io.images.read_image", PICTURES, images.read_image),
        ("io.images.read_rgb8", PICTURES, images.read_rgb8, {"share": 2}),
        ("io.images.read_valid", PICTURES, images.read_valid),
        ("io.windows.open_windows", PICTURES, open_window),
        ("io.windows.read_small", PICTURES, lambda path: windows.read_small(path, 8)),
        ("io.lazyimages.open_lazily", PICTURES, lambda path: lazyimages.open_lazily(path)[2:9, 3:20]),
        ("io.bands.stack_bands", PICTURES, lambda path: stack_bands([path, path])[0][:]),
        ("io.mosaics.read_mosaic", "mosaics/*.vrt", mosaics.read_mosaic),
        ("io.imgcheck.find_format", IMAGINE_ENVI, imgcheck.find_format),
        ("io.imgcheck.read_header", IMAGINE_ENVI, lambda path: imgcheck.read_header(find_whole(path))),
        ("io.imgcheck.measure_jpeg2000", "mosaics/*.jp2 mosaics/*.j2k", imgcheck.measure_jpeg2000),
        ("io.geotiffs.is_copied", MOSAICS, geotiffs.is_copied),
        ("io.geotiffs.copy_geotiff", f"{MOSAICS} mosaics/*.tif imagine_envi/*.ige", copy_small, WRITES),
        ("io.geotiffs.measure_file", MOSAICS, lambda path: geotiffs.measure_file(find_whole(path))),
        ("io.geotiffs.make_tag", MOSAICS, lambda path: geotiffs.make_tag(find_whole(path))),
        ("io.labelled.load_labelled", "labels/map.png labels/map.tif", lambda path: load_labelled(
            Pair(path, path.with_name("colors.png")), datasets.make_label_reader(TABLE))),
        ("io.tiffcheck.check_tiff", "pictures/*.tif labels/*.tif", tiffcheck.check_tiff),
        ("io.tiffcheck.measure_packed", "pictures/*.tif labels/*.tif", tiffcheck.measure_packed),
        ("io.labels.pngcheck.check_png", "pictures/*.png labels/*.png", pngcheck.check_png),
        ("io.labels.pngcheck.find_chunk", "pictures/*.png labels/*.png",
            lambda path: pngcheck.find_chunk(path, b"eXIf")),
        ("io.labels.formats.read_labelmap", LABELS, lambda path: read_labelmap(path, table=TABLE), {"share": 2}),
        ("io.labels.formats.read_made_by", LABELS, read_made_by),
        ("io.labels.matfiles.read_matfile", "labels/*.mat", matfiles.read_matfile, {"share": 2}),
        ("io.labels.mat5.read_mat5", "labels/*.mat", lambda path: mat5.read_mat5(
            path, ("class", "sparse"), list_name="labels", text_name="made_by")),
        ("io.labels.labelpng.read_labelpng", "labels/*.png pictures/palette.png", labelpng.read_labelpng),
        ("io.labels.labeltiff.read_labeltiff", "labels/*.tif", labeltiff.read_labeltiff, {"share": 2}),
        ("io.labels.labeltiff.read_tiff_record", "labels/*.tif", labeltiff.read_tiff_record, {"share": 0.5}),
        ("io.labels.classids.read_class_ids", "labels/*.tif labels/*.png",
            lambda path: classids.read_class_ids(path, None)),
        ("io.labels.classfiles.read_class_files", LISTS, classfiles.read_class_files),
        ("io.labels.classfiles.find_table", LISTS, classfiles.find_table),
        ("io.labels.classfiles.read_colors", LISTS, lambda path: classfiles.read_colors(path, TABLE, owner="x")),
        ("io.labels.classfiles.parse_color", "texts/color.txt", lambda path: classfiles.parse_color(text_of(path))),
        ("io.labels.labelmaps.decode_names", "texts/names.list", lambda path: labelmaps.decode_names(text_of(path))),
        ("io.jsonfiles.read_json_object", JSONS, jsonfiles.read_json_object),
        ("io.jsonfiles.parse_json_object", JSONS, lambda path: jsonfiles.parse_json_object(path.read_bytes())),
        ("io.jsonfiles.holds_keys", JSONS, jsonfiles.holds_keys),
        ("io.jsonfiles.parse_number", VALUES, lambda path: jsonfiles.parse_number(value_of(path))),
        ("io.jsonfiles.parse_whole", VALUES, lambda path: jsonfiles.parse_whole(value_of(path))),
        ("io.jsonfiles.parse_json", JSONS, lambda path: jsonfiles.parse_json(path.read_bytes())),
        ("io.jsonfiles.read_toml", "texts/*.toml",
            lambda path: jsonfiles.read_toml(path, most=1 << 20, remedy="x")),
        ("io.textfiles.read_whole", LISTS, lambda path: textfiles.read_whole(path, most=1 << 20, remedy="x")),
        ("io.textfiles.read_lines", LISTS, lambda path: textfiles.read_lines(path, remedy="x")),
        ("io.pairing.find_images", "texts/names.txt", lambda path: find_images([path])),
        ("io.arrays.read_arrays", "networks/state.npz", arrays.read_arrays),
        ("io.arrays.map_array", "texts/array.npy", lambda path: arrays.map_array(path).sum()),
        ("io.archives.unpack_archive", "module/tiny.tar.gz",
            lambda path: unpack_archive(path, path.parent / OUT), {"share": 0.3, **WRITES}),
        ("io.tables.read_csv", LISTS, lambda path: tables.read_csv(path, ("image", "set"))),
        ("io.tfrecords.scan_shard", "records/*/*.tfrec", tfrecords.scan_shard, {"share": 2}),
        ("io.tfrecords.read_record", "records/*/*.tfrec", read_record_at),
        ("io.tfrecords.decode_record", "records/*.bin", lambda path: tfrecords.decode_record(path.read_bytes())),
        ("io.samples.decode_sample", "database/sample.bin", lambda path: samples.decode_sample(path.read_bytes())),
        ("io.samples.describe_sample", "database/sample.bin", lambda path: samples.describe_sample(path.read_bytes())),
        ("io.samples.decode_json", JSONS, lambda path: samples.decode_json(path.read_bytes())),
        ("io.lmdbpages.check_pages", DATABASE, lmdbpages.check_pages),
        ("io.lmdbstore.Database", DATABASE, read_database),
        ("io.lmdbstore.describe_database", DATABASE, lambda path: lmdbstore.describe_database(path.parent)),
        ("io.lmdbstore.looks_begun", DATABASE, lmdbstore.looks_begun, {"share": 0.1}),
        ("io.masks.find_split_masks", "texts/split.csv", lambda path: masks.find_split_masks(path.parent / "train")),
        ("io.annotations.doodles.read_strokes", "annotations/a_doodles.json", doodles.read_strokes),
        ("io.annotations.doodles.read_stage", "annotations/*.json", doodles.read_stage),
        ("io.annotations.doodles.parse_stroke", "annotations/*.json", parse_strokes),
        ("io.annotations.labelme.parse_labelme", "annotations/labelme.json",
            lambda path: labelme.parse_labelme(record_of(path), shape=SHAPE)),
        ("io.annotations.coco.open_coco", "annotations/coco.json", lambda path: coco.open_coco(record_of(path))),
        ("io.annotations.coco.parse_coco", "annotations/coco.json",
            lambda path: coco.parse_coco(record_of(path), **NAMED)),
        ("io.annotations.coco.parse_polygons", VALUES, lambda path: coco.parse_polygons(value_of(path))),
        ("io.annotations.runlengths.parse_rle", VALUES, lambda path: runlengths.parse_rle(value_of(path))),
        ("io.annotations.runlengths.parse_size", VALUES, lambda path: runlengths.parse_size(value_of(path))),
        ("io.archives.list_archived", "annotations/*.npz", lambda path: list_archived(Path(f"/vsizip{path}"))),
        ("io.annotations.doodler.read_doodlernpz", "annotations/*.npz",
            lambda path: doodler.read_doodlernpz(path, shape=SHAPE), {"share": 2}),
        ("io.annotations.doodler.read_doodler", "annotations/*.npz",
            lambda path: doodler.read_doodler(path, table=TABLE, **NAMED)),
        ("io.annotations.formats.read_annotations", ANNOTATIONS,
            lambda path: formats.read_annotations(path, table=TABLE, **NAMED)),
        ("io.annotations.formats.is_stroke_log", "annotations/*.json", formats.is_stroke_log),
        ("io.annotations.formats.find_json_tool", "annotations/*.json", formats.find_json_tool),
        ("io.annotations.painted.paint_annotations", ANNOTATIONS,
            lambda path: painted.paint_annotations(path, table=TABLE, **NAMED), {"share": 2}),
        ("batch.manifest.Manifest.read", "manifest/*.jsonl", lambda path: Manifest.read(path.parent), {"share": 2}),
        ("batch.status.read_status", "manifest/*.jsonl", lambda path: read_status(path.parent)),
        ("batch.results.read_confidence", "results/confidence.tif", read_confidence),
        ("batch.madeby.explain_difference", LABELS, lambda path: explain_difference(path, '{"settings": {}}')),
        ("batch.madeby.check_place", LABELS, check_place),
        ("batch.madeby.names_model", LABELS, lambda path: names_model(read_made_by(path))),
        ("classes.ClassTable.from_records", VALUES, lambda path: ClassTable.from_records(value_of(path))),
        ("data.split.read_split", "texts/split.csv", read_split),
        ("data.splitplan.choose_others", "texts/names.txt",
            lambda path: choose_others({"a": ["a.jpg"], "b": ["b.jpg", "c.jpg"]}, path)),
        ("data.survey.survey_photo", PICTURES, lambda path: survey.survey_photo(path, "0")),
        ("data.survey.survey_mask", LABELS, lambda path: survey.survey_mask(path, "0", TABLE)),
        ("data.survey.survey_files", "pictures/*", lambda path: survey.survey_files([path], [path]), {"share": 0.3}),
        ("data.survey.PhotoFacts.from_record", "results/photo.json",
            lambda path: survey._read_record(survey.PhotoFacts, path, "0", path)),
        ("data.survey.MaskFacts.from_record", "results/mask.json",
            lambda path: survey._read_record(survey.MaskFacts, path, "0", path)),
        ("data.convert.convert_masks", "annotations/*.json annotations/*.npz",
            lambda path: convert.convert_masks([path.rename(path.with_name(f"a{path.suffix}"))], table=TABLE,
                images_dir=path.parent, out_dir=path.parent / OUT), WRITES),
        ("data.cocoimport.import_coco", "annotations/coco.json", import_anything, {"share": 0.5, **WRITES}),
        ("demo.demoscenes.write_demo_scenes", "results/scenes.json",
            lambda path: write_demo_scenes(path.parent, options=SceneOptions(1, 48, 64)), {"share": 0.3, **WRITES}),
        ("dense.datasets.read_listed_pairs", "texts/pairs.csv", datasets.read_listed_pairs),
        ("dense.datasets.read_mask", LABELS, lambda path: datasets.read_mask(path, TABLE)),
        ("dense.policy.read_policy", "texts/*.toml", read_policy, {"share": 2}),
        ("dense.programs.config.read_config", "texts/config.json", config.read_config, {"share": 2}),
        ("dense.programs.config.parse_config", "texts/config.json", lambda path: config.parse_config(record_of(path))),
        ("dense.programs.configproposal.propose_config", "results/images/a.png results/masks/a.png",
            lambda path: propose_config(path.parents[1] / "images", path.parents[1] / "masks"), {"share": 0.5}),
        ("dense.programs.fcnfolders.find_labeldefs", LISTS, lambda path: fcnfolders.find_labeldefs(path.parent, path)),
        ("dense.recordpairs.open_records", "records/*/index.json records/*/*.tfrec", read_pairs, {"share": 2}),
        ("dense.lmdbpairs.LmdbPairs", DATABASE, lambda path: lmdbpairs.LmdbPairs(path.parent).read(0)),
        ("dense.runs.load_run", "networks/run/*",
            lambda path: runs.load_run(path.parent, program="fcn"), {"share": 0.2}),
        ("dense.warmstart.check_start", "networks/coast.h5", warmstart.check_start, {"share": 0.1}),
        ("hybrid.tilefolder.read_class_list", "results/tiles/classes.json",
            lambda path: tilefolder.read_class_list(path.parent)),
        ("hybrid.tilefolder.read_made_from", "results/tiles/classes.json",
            lambda path: tilefolder.read_made_from(path.parent)),
        ("hybrid.tilefolder.open_tile_folder", "results/tiles/classes.json results/tiles/tiles.csv",
            lambda path: tilefolder.open_tile_folder(path.parent)),
        ("hybrid.evaltiles.find_tile_size", "results/tiles/tiles.csv",
            lambda path: evaltiles.find_tile_size(path.parent)),
        ("hybrid.tiles.read_tile", PICTURES, lambda path: read_tile(path, tile_size=8)),
        ("hybrid.tuning.read_tuning", "classifier/model_crf.json",
            lambda path: tuning.read_tuning([path.with_name("model.pb")])),
        ("labelling.strokeimport.import_strokes", ANNOTATIONS,
            lambda path: strokeimport.import_strokes(path, table=TABLE, **NAMED), {"share": 2}),
        ("labelling.spread.read_seeds", ANNOTATIONS,
            lambda path: spread.read_seeds(path, path.with_name("a.png"), table=TABLE)),
        ("labelling.opening.open_session", "annotations/a_doodles.json annotations/a.png", open_labelling,
            WRITES),
        ("labelling.shelf.Shelf.load", "annotations/a_doodles.json",
            lambda path: shelf.Shelf(None).load(path.with_name("a.png"), None)),
        ("labelling.shelf.Shelf.read_state", "annotations/a_doodles.json",
            lambda path: shelf.Shelf(None).read_state(path.with_name("a.png"))),
        ("labelling.review.ReviewSession", "results/images/*", lambda path: review.ReviewSession(path.parent)),
        ("io.pictures.open_picture", "pictures/*.png pictures/*.jpg", load_picture),
        ("io.pictures.read_orientation", PICTURES, read_orientation),
        ("io.marks.is_ours", "results/plain.png", is_ours),
        ("page.is_page_of_ours", "results/page.html", is_page_of_ours, {"share": 0.3}),
        ("study.findings.read_findings", "study/hybrid/scores/eval_pixels.json", read_study),
        ("study.steps.StepLog", "study/steps.json", lambda path: StepLog(path.parent, (), (), draw=[])),
        ("study.story.read_scores", "results/eval_pixels.json", lambda path: read_scores(path.parent)),
        ("models.architectures.parse_architecture", "networks/coast.card.json",
            lambda path: parse_architecture(record_of(path).get("architecture"))),
        ("models.cards.read_card_file", "classifier/model.json networks/coast.card.json",
            lambda path: read_card_file(path, dict, remedy="x")),
        ("models.store.read_card", "classifier/model.json", lambda path: store.read_card(path.with_name("model.pb"))),
        ("models.store.load_classifier", "classifier/model.json classifier/model.pb classifier/model.tflite",
            lambda path: store.load_classifier(path.with_name("model.pb"))),
        ("models.bundles.read_dense_card", "networks/coast.card.json", use_card),
        ("models.bundles.load_dense", "networks/coast.card.json networks/coast.h5 networks/coast.tflite",
            lambda path: bundles.load_dense(path.with_name("coast.h5"))),
        ("models.bundles.describe_json", JSONS, bundles.describe_json),
        ("models.bundles.find_programs", "networks/coast.card.json",
            lambda path: bundles.find_programs(path.with_name("coast.h5"))),
        ("models.bundles.find_card", "networks/coast.card.json",
            lambda path: bundles.find_card(path.with_name("coast.h5"))),
        ("models.catalog.read_entry", "classifier/model.json", lambda path: repr(catalog.read_entry(path.parent))),
        ("models.catalog.find_models", "networks/coast.card.json classifier/model.json",
            lambda path: [repr(entry) for entry in catalog.find_models([path.parent])[0]]),
        ("models.checkpoints.read_state", "networks/state.npz", lambda path: checkpoints.read_state(
            path, [np.zeros((2, 3)), np.zeros(4)])),
        ("models.weightfile.read_weights", "networks/coast.h5", read_weights, {"share": 2}),
        ("models.weightfile.load_weights", "networks/coast.h5", lambda path: load_weights(make_tiny(), path)),
        ("models.graphs.read_content", "classic/old.pb", graphs.read_content, {"share": 0.1}),
        ("models.graphs.check_content", "classic/old.pb",
            lambda path: graphs.check_content(path, graphs.read_content(path))),
        ("models.graphs.parse_graph", "classic/old.pb", parse_pb),
        ("models.litegraphs.check_lite", "classifier/model.tflite",
            lambda path: litegraphs.check_lite(path.read_bytes())),
        ("models.litegraphs.fit_lite", "classifier/model.tflite", fit_graph),
        ("models.runtimes.try_runtime", "classifier/model.tflite networks/coast.tflite", run_graph),
        ("models.hubmodules.read_module", "module/tiny/saved_model.pb module/tiny/variables/*", read_tiny_module,
            {"share": 2}),
        ("models.runtimes.read_runtime", "classifier/model.tflite",
            lambda path: read_runtime(path, record_of(path.with_suffix(".json"))["runtime"])),
        ("models.sam.check_onnx", "sam/*.onnx", sam.check_onnx),
        ("models.sam.Sam", "sam/*.onnx", lambda path: sam.Sam(
            path.with_name("encoder.onnx"), path.with_name("decoder.onnx")), {"share": 0.05, "seconds": 30}),
        ("models.backbones.load_backbone", "module/tiny.tar.gz", load_archive, {"share": 0.02, **TRIES, **WRITES}),
    )
)  # fmt: skip
