"""Seeds or probabilities in, a class for every pixel out: what is refused, blocks, memory, and when it stops."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.classes import VOID
from hybridseg.crf.engines import has_kernel
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.refine import refine_labels, refine_probs
from hybridseg.demo.scenes.scene import make_scene
from hybridseg.errors import BadInput

needs_kernel = pytest.mark.skipif(not has_kernel(), reason="the kernel was not built")

NEAR = CrfOptions(theta=10, n_iterations=5)


@pytest.fixture
def halves():
    """Black beside white, 20 x 30, a seed of class 0 in the one and of class 2 in the other."""
    image = np.zeros((20, 30, 3), np.uint8)
    image[:, 15:] = 255
    seeds = np.zeros((20, 30), np.uint8)
    seeds[5, 3], seeds[12, 25] = 1, 3
    return image, seeds


def test_colour_decides(halves):
    result = refine_labels(*halves, n_classes=3, options=NEAR, want_probs=True)
    assert (result.labels[:, :15] == 0).all() and (result.labels[:, 15:] == 2).all()
    assert result.labels.dtype == np.uint8 and result.labels.shape == (20, 30)
    assert result.probs.dtype == np.float32 and result.probs.shape == (20, 30, 3)
    assert result.probs.sum(axis=2) == pytest.approx(np.ones((20, 30)), abs=1e-5)
    assert (result.probs.argmax(axis=2) == result.labels).all()
    assert result.n_blocks == 1
    assert refine_labels(*halves, n_classes=3, options=NEAR).probs is None


def test_every_type_of_image_gives_the_same(halves):
    image, seeds = halves
    expected = refine_labels(image, seeds, n_classes=3, options=NEAR, want_probs=True)
    for other in (
        image.astype(np.uint16) * 257,
        image.astype(np.float32),
        image.astype(np.float64),
        np.asfortranarray(image),
        np.repeat(image, 2, axis=1)[:, ::2],
        image.astype(">f4"),
    ):
        result = refine_labels(other, seeds, n_classes=3, options=NEAR, want_probs=True)
        assert result.probs.tobytes() == expected.probs.tobytes()
    single = refine_labels(image[:, :, 0], seeds, n_classes=3, options=NEAR)
    assert (single.labels == refine_labels(image[:, :, :1], seeds, n_classes=3, options=NEAR).labels).all()


def test_where_no_seed_is_heard_of_it_is_void():
    image, seeds = np.zeros((4, 2000, 1), np.uint8), np.zeros((4, 2000), np.uint8)
    seeds[1, 0] = 2
    result = refine_labels(image, seeds, n_classes=2, options=NEAR, want_probs=True)
    assert (result.labels[:, :20] == 1).all()
    assert (result.labels[:, 1000:] == VOID).all()
    assert result.probs[:, 1000:] == pytest.approx(np.full((4, 1000, 2), 0.5), abs=1e-5)


def test_a_seed_that_is_trusted_no_more_than_any_class_says_nothing():
    image, seeds = np.zeros((4, 4, 1), np.uint8), np.ones((4, 4), np.uint8)
    assert (refine_labels(image, seeds, n_classes=1, options=replace(NEAR, gt_prob=0.5)).labels == VOID).all()
    assert (refine_labels(image, seeds, n_classes=1, options=replace(NEAR, gt_prob=0.6)).labels == 0).all()


def test_one_class():
    image, seeds = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)
    seeds[4, 4] = 1
    result = refine_labels(image, seeds, n_classes=1, options=replace(NEAR, gt_prob=0.9), want_probs=True)
    assert (result.labels == 0).all() and (result.probs == 1).all()
    assert (refine_probs(image, np.ones((9, 9, 1))).labels == 0).all()


def test_probs_follow_the_image():
    """A doubtful classifier, surer on one pixel of each half: each half goes with its pixel."""
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 99
    probs = np.full((10, 20, 2), 0.5)
    probs[2, 4], probs[7, 15] = (0.9, 0.1), (0.1, 0.9)
    result = refine_probs(image, probs, options=replace(NEAR, space_compat=0), want_probs=True)
    assert (result.labels[:, :10] == 0).all() and (result.labels[:, 10:] == 1).all()
    assert (result.probs.argmax(axis=2) == result.labels).all()


IMAGE, SEEDS = np.zeros((6, 5, 3), np.uint8), np.eye(6, 5, dtype=np.uint8)
NAN = np.zeros((6, 5, 3))
NAN[2, 2] = np.nan


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((6, 5, 5), np.uint8), r"1 to 4 bands.*not an array of \(6, 5, 5\); choose the bands"),
        (np.zeros((6, 5, 0), np.uint8), "1 to 4 bands"),
        (np.zeros(6, np.uint8), r"not an array of \(6,\)"),
        (np.zeros((1, 6, 5, 3), np.uint8), "1 to 4 bands"),
        (np.zeros((0, 5, 3), np.uint8), "the image is empty: 0 x 5 pixels"),
        (NAN, "3 values of the image are NaN or infinite; fill them"),
        (IMAGE - np.inf, "90 values of the image are NaN or infinite"),
        (IMAGE + 255.5, "values of the image go from 255.5 to 255.5; scale them to 0..255"),
        (IMAGE - 0.5, "from -0.5 to -0.5; scale them"),
        (IMAGE.astype(np.int32), "uint8, uint16 or floats in 0..255, not int32"),
        (IMAGE.astype(bool), "not bool"),
        (IMAGE[:-1], r"the image has 5 x 5 pixels, its seeds or probabilities 6 x 5; give both at the same size"),
    ],
)
def test_images_that_are_refused(image, message):
    with pytest.raises(BadInput, match=message):
        refine_labels(image, SEEDS, n_classes=1)
    with pytest.raises(BadInput, match=message):
        refine_probs(image, np.full((6, 5, 2), 0.5))


@pytest.mark.parametrize("seeds", [SEEDS * 0, SEEDS * 5, SEEDS.astype(np.int8) * -1, SEEDS.astype(float)])
def test_seeds_that_are_refused(seeds):
    with pytest.raises(BadInput, match="seed"):
        refine_labels(IMAGE, seeds, n_classes=4)


@needs_kernel
@pytest.mark.parametrize("changes", [{"color_scale": 0.01}, {"theta": 1e-4}, {"theta": 1e-300}])
def test_positions_beyond_the_lattice_are_refused(changes):
    with pytest.raises(BadInput, match=r"theta=.* or color_scale=.* too small for an image of 6 x 5.*give larger ones"):
        refine_labels(IMAGE + 255, SEEDS, n_classes=1, options=CrfOptions(**changes))


@needs_kernel
def test_only_the_terms_that_are_used_must_fit():
    """Without the colour term its scale is nobody's business, and the plane has room for smaller thetas."""
    options = CrfOptions(theta=1e-3, color_scale=1e-6, color_compat=0)
    labels = refine_labels(IMAGE + 255, SEEDS, n_classes=2, options=options).labels
    assert (labels == np.where(SEEDS == 1, 0, VOID)).all()
    with pytest.raises(BadInput, match="too small"):
        refine_labels(IMAGE, SEEDS, n_classes=2, options=replace(options, theta=1e-6))
    options = CrfOptions(theta=1e-5, space_compat=0, color_compat=0)
    assert (refine_labels(IMAGE, SEEDS, n_classes=2, options=options).labels == labels).all()


@needs_kernel
def test_huge_scales_make_all_pixels_alike(halves):
    options = CrfOptions(theta=999_999, color_scale=999_999)
    image, seeds = halves
    seeds[8, 8] = 1
    assert (refine_labels(image, seeds, n_classes=3, options=options).labels == 0).all()


@pytest.mark.slow
@needs_kernel
def test_tolerance_ends_early_and_zero_goes_all_the_way(coasts):
    image, seeds, n_classes = coasts[0]

    def refine(**settings):
        options = CrfOptions(n_threads=1, **settings)
        return refine_labels(image, seeds, n_classes=n_classes, options=options)

    full, short = refine(tolerance=0), refine()
    assert full.n_iterations == 20 and 2 <= short.n_iterations < 20
    assert (full.labels == short.labels).mean() >= 0.995
    exactly = refine(tolerance=0, n_iterations=short.n_iterations)
    assert (exactly.labels == short.labels).all()
    assert refine(tolerance=0.99).n_iterations == 2


@pytest.fixture(scope="module")
def wide(coasts):
    """A coast scene twice, one below the other, and options with a halo that is small against it."""
    image, seeds, n_classes = coasts[0]
    options = CrfOptions(theta=12, color_scale=4, tolerance=0, n_iterations=3, n_threads=1)
    return np.tile(image, (2, 1, 1)), np.tile(seeds, (2, 1)), n_classes, options


@pytest.mark.slow
@needs_kernel
def test_blocks_give_what_the_whole_gives(wide, cut_at):
    image, seeds, n_classes, options = wide
    heard = []

    def hear(items, *, label):
        heard.append((len(items), label))
        return items

    settings = {"n_classes": n_classes, "options": options, "want_probs": True, "progress": hear}
    whole = refine_labels(image, seeds, **settings)
    whole_again = refine_probs(image, whole.probs, options=options).labels
    cut_at(160)
    parts = refine_labels(image, seeds, **settings)
    assert whole.n_blocks == 1 and parts.n_blocks == parts.n_planned >= 4
    assert heard[0] == (1, "spreading classes") and heard[1][0] > 1
    assert (whole.labels == parts.labels).mean() >= 0.99
    assert (np.abs(whole.probs - parts.probs).max(axis=2) < 0.03).mean() >= 0.99
    assert (parts.probs.argmax(axis=2) == parts.labels).mean() > 0.999
    probs = refine_probs(image, whole.probs, options=options)
    assert probs.n_blocks >= 4
    assert (probs.labels == whole_again).mean() >= 0.99


@pytest.mark.slow
@needs_kernel
def test_the_result_does_not_depend_on_the_memory(wide, cut_at):
    """Down to that of a block; with less they are halved, which the result says."""
    image, seeds, n_classes, options = wide
    cut_at(220)
    found = [
        refine_labels(image, seeds, n_classes=n_classes, options=replace(options, max_memory=memory), want_probs=True)
        for memory in (4, 0.03, 0.011)
    ]
    assert np.array_equal(found[0].probs, found[1].probs)
    assert [each.n_blocks - each.n_planned for each in found[:2]] == [0, 0] < [found[2].n_blocks - found[2].n_planned]


@needs_kernel
def test_sixteen_bits_are_brought_to_the_levels_of_eight(coasts):
    image, seeds, n_classes = coasts[0]
    options = CrfOptions(theta=12, color_scale=4, n_iterations=2)
    part = np.s_[:80, :80]
    eight, sixteen = (
        refine_labels(pixels[part], seeds[part], n_classes=n_classes, options=options, want_probs=True).probs
        for pixels in (image, image.astype(np.uint16) * 257)
    )
    assert (eight == sixteen).all()


@needs_kernel
def test_blocks_lie_in_one_lattice(cut_at):
    """With the halo, what a block gives near its middle is what the whole gives, wherever the block begins."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (150, 410, 3), np.uint8)
    probs = rng.random((150, 410, 3))
    probs /= probs.sum(axis=2, keepdims=True)
    options = CrfOptions(theta=7, color_scale=30, n_iterations=1, tolerance=0, n_threads=1)
    whole = refine_probs(image, probs, options=options, want_probs=True)
    cut_at(150)
    parts = refine_probs(image, probs, options=options, want_probs=True)
    assert whole.n_blocks == 1 < parts.n_blocks
    assert np.quantile(np.abs(whole.probs - parts.probs), 0.99) < 0.01


@pytest.mark.parametrize("engine", ["native", "pydensecrf"])
def test_blocks_with_either_engine(request, engine, cut_at):
    if engine == "pydensecrf":
        request.getfixturevalue("reference")
    elif not has_kernel():
        pytest.skip("the kernel was not built")
    image, seeds = np.zeros((300, 280, 3), np.uint8), np.zeros((300, 280), np.uint8)
    image[:, 100:], seeds[::10, 50], seeds[::10, 200] = 200, 1, 2
    options = CrfOptions(theta=8, space_compat=0, n_iterations=3, engine=engine)
    cut_at(120)
    result = refine_labels(image, seeds, n_classes=2, options=options)
    assert result.engine == engine and result.n_blocks > 1
    seen = result.labels != VOID
    assert (result.labels[seen] == np.where(np.arange(280) < 100, 0, 1)[None].repeat(300, axis=0)[seen]).all()
    assert seen[:, :80].any() and seen[:, 180:].any()


def find_number(error: BadInput) -> float:
    return float(re.search(r"the CRF needs ([\d.]+) GiB here", str(error))[1])


@needs_kernel
@pytest.mark.parametrize("changes", [{}, {"reference_geometry": True}, {"engine": "pydensecrf"}], ids=str)
def test_a_budget_that_is_too_small_names_one_that_is_enough(request, wide, changes):
    if changes.get("engine") == "pydensecrf":
        request.getfixturevalue("reference")
    image, seeds, n_classes, options = wide
    options = replace(options, n_iterations=1, **changes)
    with pytest.raises(BadInput, match=r"max_memory=1e-05 allows less; give it more \(--max-memory\)") as caught:
        refine_labels(image, seeds, n_classes=n_classes, options=replace(options, max_memory=1e-5))
    if options.reference_geometry:
        assert "no blocks with reference_geometry" in str(caught.value)
    needed = find_number(caught.value)
    try:
        result = refine_labels(image, seeds, n_classes=n_classes, options=replace(options, max_memory=needed))
    except BadInput as error:
        # Another block had more to tell apart than the first, or the estimate for the whole was too low.
        needed, first = find_number(error), needed
        assert needed < 1.5 * first
        result = refine_labels(image, seeds, n_classes=n_classes, options=replace(options, max_memory=needed))
    assert options.reference_geometry == (result.n_blocks == 1)


@needs_kernel
def test_an_engine_that_needs_more_memory_gets_halves():
    image, seeds = np.zeros((300, 280, 3), np.uint8), np.ones((300, 280), np.uint8)
    options = CrfOptions(theta=5, n_iterations=1, gt_prob=0.9, max_memory=0.003)
    result = refine_labels(image, seeds, n_classes=1, options=options)
    assert result.n_blocks > 1 and (result.labels == 0).all()
    with pytest.raises(BadInput, match="the CRF needs"):
        refine_labels(image, seeds, n_classes=1, options=replace(options, reference_geometry=True))


@needs_kernel
def test_a_halo_over_all_of_the_image_is_no_reason_for_blocks():
    """Every block would look at the whole image; there were as many runs over it as blocks."""
    image, seeds = np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400), np.uint8)
    seeds[3, 3] = 1
    options = CrfOptions(theta=200, n_iterations=1, gt_prob=0.9, max_memory=0.03)
    assert refine_labels(image, seeds, n_classes=1, options=options).n_blocks == 1


@needs_kernel
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads what Linux tells of memory")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coast", "noise"])
def test_memory_stays_near_the_budget(tmp_path, kind):
    """Not twice the budget: building a lattice takes more than having it."""
    image = make_scene(1, rows=350, cols=450).image
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    np.save(tmp_path / "image.npy", image)
    program = f"""
        from pathlib import Path
        import numpy as np
        from hybridseg.crf import _kernel
        from hybridseg.crf.options import CrfOptions
        from hybridseg.crf.refine import refine_labels
        def read_peak():  # Not ru_maxrss: a child process begins with that of its parent.
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20
        image = np.load({str(tmp_path / "image.npy")!r})
        seeds = np.zeros(image.shape[:2], np.uint8)
        seeds[::30, ::30] = 1
        seeds[::30, 15::30] = 2
        before = read_peak()
        options = CrfOptions(theta=10, n_iterations=1, max_memory=0.03, n_threads=2)
        n_blocks = refine_labels(image, seeds, n_classes=2, options=options).n_blocks
        peak = read_peak()
        options = CrfOptions(theta=10, n_iterations=1, n_threads=2)
        assert refine_labels(image, seeds, n_classes=2, options=options).n_blocks == 1
        whole = read_peak()
        print(n_blocks, peak - before, whole - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    words = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout.split()
    n_blocks, peak, whole = int(words[0]), float(words[1]), float(words[2])
    assert n_blocks > 1
    assert peak < 0.06, f"a budget of 0.03 GiB took {peak:.3f} GiB"
    assert whole > 0.06, f"without blocks it would take {whole:.3f} GiB: this test shows nothing"
