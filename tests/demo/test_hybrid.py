import json
import re

import pytest

from hybridseg.cli.main import main
from hybridseg.demo.hybrid import run_demo


@pytest.mark.slow
def test_the_report_of_a_study_with_the_classic_constants_beside_it(scenes, tiny_module, quick_panels, tmp_path):
    """On scenes of the test: those of the program are drawn by `make demo`, which runs the same commands in full."""
    out, ran, lines = tmp_path / "demo", [], []
    # What makes a command quick.
    extra = {
        "retrain": ["--input-size", 32, "--tfhub_module", tiny_module, "--learning_rate", 0.3],
        "retile": ["--jobs", 1],
    }

    def run_command(words):
        ran.append(words[0])
        if words[0] != "demo-scenes":
            words = ["--quiet", *words, *map(str, extra.get(words[0], []))]
            main.main(words, prog_name="hybridseg", standalone_mode=False)

    def run():
        return run_demo(out, scenes, run_command=run_command, say=lines.append, warn=lines.append)

    assert run().report_path == out / "report.html"
    own = ["demo-scenes", "split", "retile", "retrain", "semseg", "eval-pixels"]
    assert ran == [*own, "semseg", "eval-pixels", "eval-pixels"]
    page = re.sub("</?span>", "", (out / "report.html").read_text())
    assert "src='data:image" in page and not re.findall(r"(?:src|href)='(?!data:)", page)
    assert "Next: the same with photos of your own, hybridseg run PHOTOS" in page and "Put new ones into" not in page
    # Nothing that was evaluated was trained on.
    trained, tested = ({path.stem for path in (out / name).glob("*.jpg")} for name in ("train", "test"))
    assert trained and tested and not trained & tested and len(trained | tested) == 6
    scores = [
        json.loads((out / folder / "eval_pixels.json").read_text())["pooled"]["accuracy"]
        for folder in ("classic/tiles", "classic/crf", "hybrid/scores")
    ]
    assert scores[0] + 0.005 < scores[1] and scores[1] + 0.02 < scores[2]
    for name, score in zip(("tiles of semseg --classic", "semseg --classic", "semseg"), scores, strict=True):
        assert f"<td>{name}</td><td>{score:.3f}</td>" in page
    section = page.partition("Beside the classic constants")[2].partition("<h2>")[0]
    assert section.count("<figcaption>truth") == section.count("<figcaption>tiles of semseg --classic") == len(tested)
    strips = [re.findall(r"src='(data:[^']+)'", strip) for strip in section.split("<h3>")[1:]]
    assert [len(set(pictures)) for pictures in strips] == [4] * len(tested)
    assert "hybridseg demo-scenes" in page and f"hybridseg semseg {out}/test --model" in page
    # The same command repeats no step.
    ran.clear()
    run()
    assert ran == ["demo-scenes"]
