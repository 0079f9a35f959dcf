import json
import re

import pytest

from hybridseg.cli.main import main
from hybridseg.demo.hybrid import HYBRID


@pytest.mark.slow
def test_the_page_tells_of_a_crf_that_helps(scenes, tiny_module, quick_panels, tmp_path):
    """On scenes of the test: those of the program are drawn by `make demo`, which runs the same commands in full."""
    out, lines = tmp_path / "demo", []
    # What makes a command quick.
    extra = {
        "retrain": ["--input-size", 32, "--tfhub_module", tiny_module, "--learning_rate", 0.3],
        "retile": ["--jobs", 1],
    }

    def run_command(words):
        if words[0] != "demo-scenes":
            main.main([*words, *map(str, extra.get(words[0], []))], prog_name="hybridseg", standalone_mode=False)

    assert HYBRID.run(out, scenes, run_command=run_command, say=lines.append) == out / "index.html"
    page = (out / "index.html").read_text()
    pictures = re.findall(r"<img src='([^']+)'", page)
    assert len(pictures) == 6 and all((out / name).stat().st_size > 10_000 for name in pictures)
    for command in ("demo-scenes", "split", "retile", "retrain", "eval-tiles", "semseg", "eval-pixels"):
        assert f"<code>hybridseg {command} " in page and f"$ hybridseg {command} " in "".join(lines)
    # Nothing that was evaluated was trained on.
    trained, tested = ({path.stem for path in (out / name).glob("*.jpg")} for name in ("train", "test"))
    assert trained and tested and not trained & tested and len(trained | tested) == 6
    scores = [
        json.loads((out / folder / "eval_pixels.json").read_text())["pooled"]["accuracy"]
        for folder in ("tiles_alone", "classic", "test")
    ]
    assert scores[0] + 0.005 < scores[1] and scores[1] + 0.02 < scores[2]
    assert all(f"<td>{score:.3f}</td>" in page for score in scores)
