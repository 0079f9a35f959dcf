"""What is wrong with a few masks, told of the right ones."""

import numpy as np
import pytest

from hybridseg.data.review import ReviewOptions, place_review, review_data
from hybridseg.io.images import write_image


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Review four photos with these masks of ids."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project/data/raw").mkdir(parents=True)
    (tmp_path / "project/data/raw/labels.txt").write_text("water\nsand\ncliff\n")

    def review(masks):
        for i, ids in enumerate(masks):
            photo = np.random.default_rng(i).integers(20, 200, (64, 96, 3)).astype(np.uint8)
            write_image(tmp_path / f"project/data/raw/train/images/p{i}.png", photo)
            mask = np.array(ids, np.uint8).repeat(96 // len(ids))[None].repeat(64, axis=0)
            write_image(tmp_path / f"project/data/raw/train/masks/p{i}.png", mask)
        found = review_data(place_review(tmp_path / "project"), options=ReviewOptions(plots=0), n_jobs=1)
        return {fault.kind: fault for fault in found.faults}

    return review


def test_a_mask_of_0_and_255_among_masks_of_ids(look):
    """255 stands for no class, so a class with that id would vanish unnoticed."""
    found = look([[0, 1, 2], [0, 255], [1, 2], [0, 1]])["black and white"]
    title = "1 mask holds 0 and 255 alone, unlike the others, and 255 counts as no class (p1.png); "
    assert not found.breaks and str(found).startswith(title) and "--threshold 128" in found.mend
    assert [problem.where.rpartition("/")[2] for problem in found.problems] == ["p1.png"]
    # With other classes beside them, 255 is what it says; and where all masks are so, they show a single class.
    assert "black and white" not in look([[0, 1, 2], [0, 1, 255], [1, 2], [0, 1]])
    all_alike = look([[0, 255]] * 4)
    assert "black and white" not in all_alike and "one class" in all_alike
