import numpy as np
import pytest

import hybridseg as hs
from hybridseg.apply import find_model, make_job, segment_files
from hybridseg.batch.jobs import Outputs
from hybridseg.dense.predict import PredictJob
from hybridseg.dense.smoothing import SmoothingOptions
from hybridseg.dense.windows import DenseOptions
from hybridseg.errors import BadInput, MissingInput, TooLittleMemory
from hybridseg.hybrid.segmentation import HybridOptions
from hybridseg.hybrid.semseg import SemsegJob
from hybridseg.hybrid.tuning import TuneOptions, tune_crf
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.pairing import Pair
from tests.io.test_lazyimages import write_tiff


def test_the_kind_of_the_model_decides(tmp_path, table):
    hybrid, native = HybridOptions(scale=1.0), DenseOptions(native=True)
    outputs = Outputs(out_dir=tmp_path)
    job = make_job(["a.pb", "b.PB"], options=hybrid, outputs=outputs, table=table)
    assert isinstance(job, SemsegJob) and (job.options, job.outputs, job.table) == (hybrid, outputs, table)
    for path in ("net.h5", tmp_path):
        job = make_job([path], options=native, smoothing=SmoothingOptions(radius=3), outputs=outputs)
        assert isinstance(job, PredictJob) and (job.options, job.outputs, job.table) == (native, outputs, None)
        assert job.smoothing.radius == 3
    assert make_job(["a.pb"]).options == HybridOptions() and make_job(["a.h5"]).options == DenseOptions()


def test_constants_that_were_tuned_are_used(by_color, make_pair, tmp_path):
    model = tmp_path / "model.pb"
    model.write_bytes(b"a model")
    make_pair(tmp_path, "a", np.arange(40 * 40).reshape(40, 40) // 800, classes=by_color.table)
    pair = Pair(tmp_path / "a_mres.mat", tmp_path / "a.png")
    by_color.path = model
    tuned = tune_crf([pair], by_color, start=HybridOptions(), options=TuneOptions(n_trials=1))
    assert make_job([model]).options.crf.theta == tuned.best.crf.theta
    assert make_job([model], options=HybridOptions()).options == HybridOptions()
    model.write_bytes(b"another")
    with pytest.raises(BadInput, match=r"made for model\.pb as they were then"):
        make_job([model])


def test_the_model_in_a_folder(tmp_path):
    run_dir, served, tiles = tmp_path / "run", tmp_path / "saved_model", tmp_path / "tiles"
    for path in (
        *(run_dir / f"{stem}{end}" for stem in ("model", "epoch_0001") for end in (".h5", ".card.json")),
        *(served / name for name in ("saved_model.pb", "assets.extra/model.h5")),
        *(tiles / name for name in ("net.pb", "net.json", "other.pb")),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = {path: find_model(path) for path in (run_dir, served, tiles, tmp_path)}
    assert found[run_dir] == run_dir / "model.h5", "and no checkpoint"
    assert found[served] == served / "assets.extra" and found[tiles] == tiles / "net.pb"
    assert found[tmp_path] == tmp_path


@pytest.mark.parametrize(
    ("models", "settings", "message"),
    [
        ([], {}, "models of one kind"),
        (["a.pb", "b.h5"], {}, "models of one kind"),
        (["a.pb", "b.pb", "./a.pb"], {}, "a.pb is given twice; models that vote have one vote each: leave one out"),
        (["a.txt"], {}, "there is no file or folder a.txt"),
        (["a.pb"], {"options": DenseOptions()}, "give HybridOptions"),
        (["a.pb"], {"smoothing": SmoothingOptions()}, "no smoothing"),
        (["a.h5"], {"options": HybridOptions()}, "give DenseOptions"),
    ],
)
def test_what_does_not_fit(models, settings, message):
    with pytest.raises((BadInput, MissingInput), match=message):
        make_job(models, **settings)


def test_folders_of_images(by_color, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridseg.hybrid.semseg.load_classifier", lambda path, **_: by_color)
    settings = {"options": HybridOptions(decimation=1), "outputs": Outputs(out_dir=tmp_path / "out")}
    done = []
    result = segment_files([photos], ["model.pb"], **settings, on_done=done.append)
    assert [image.image_path.name for image in result.images] == ["a.png", "b.png"] and len(done) == 2
    assert read_labelmap(result.images[0].written[0]).labels.shape == (60, 90)
    again = segment_files([str(photos / "*.png")], ["model.pb"], **settings, resume=True)
    assert len(again.skipped) == 2


def test_the_memory_of_functions_is_that_of_commands(by_color, photos, tmp_path, monkeypatch):
    """Where nothing is said, half of what is free; too little for the program is refused."""
    monkeypatch.setattr("hybridseg.hybrid.semseg.load_classifier", lambda path, **_: by_color)
    image, mask = photos / "a.png", tmp_path / "mask.png"
    assert hs.segment(image, "model.pb", max_memory=64).labels.shape == (60, 90)
    assert not hs.predict(image, "model.pb", output=mask, max_memory=64).problems
    with pytest.raises(TooLittleMemory, match=r"too little.* or give max_memory=\S+ or more"):
        hs.segment(image, "model.pb", max_memory=0.001)
    mask.unlink()
    for found in (
        hs.predict(image, "model.pb", output=mask, max_memory=0.001),
        hs.segment(photos, "model.pb", out=tmp_path / "out", max_memory=0.001),
    ):
        assert not found.images and "are too little, because the program itself" in found.problems[0].message
    with pytest.raises(BadInput, match="max_memory"):
        hs.segment(image, "model.pb", max_memory=0)


def test_a_result_in_memory_takes_no_more_than_itself(by_color, paint_coast, tmp_path, monkeypatch):
    monkeypatch.setattr("hybridseg.hybrid.semseg.load_classifier", lambda path, **_: by_color)
    image = paint_coast(300, 200, border=90)
    write_tiff(tmp_path / "a.tif", image, tiled=True, blockxsize=64, blockysize=64)
    whole = hs.segment(tmp_path / "a.tif", "model.pb")
    monkeypatch.setattr("hybridseg.io.lazyimages.MAX_DECODED_PIXELS", 50_000)
    parts = hs.segment(tmp_path / "a.tif", "model.pb")
    for name in ("labels", "confidence", "image"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name
    assert np.array_equal(hs.segment(image, "model.pb").labels, whole.labels)
    monkeypatch.setattr("hybridseg.oneimage._RESULT_BYTES", 1 << 30)
    for given, name in ((tmp_path / "a.tif", "a.tif"), (image, "the image")):
        with pytest.raises(
            TooLittleMemory, match=rf"{name} has 0 megapixels.* take 60000.0 GiB.* part by part: out=DIR"
        ):
            hs.segment(given, "model.pb")
