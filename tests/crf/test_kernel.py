"""The native kernel by itself: answers by hand, threads, instruction sets, signals, and processes that fork."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest

from hybridseg.crf.engines import run_native
from hybridseg.crf.options import CrfOptions
from hybridseg.crf.priors import priors_from_probs, priors_from_seeds
from hybridseg.crf.refine import refine_labels
from hybridseg.progress import checkpoint, ended_by

_kernel = pytest.importorskip("hybridseg.crf._kernel", reason="the kernel was not built", exc_type=ImportError)

BLACK = np.zeros((1, 1, 3), np.uint8)


def soften(energies: list[float]) -> list[float]:
    powers = np.exp(energies)
    return (powers / powers.sum()).tolist()


def run_all_rounds(image, priors, **changes):
    options = CrfOptions(tolerance=0, **changes)
    return run_native(image, priors, options=options, want_probs=True)


def test_without_a_term_the_priors_stay():
    probs = np.array([[[0.2, 0.8], [0.7, 0.3]]], np.float32)
    field = run_all_rounds(np.zeros((1, 2, 3), np.uint8), priors_from_probs(probs), space_compat=0, color_compat=0)
    assert field.probs == pytest.approx(probs, abs=1e-6)
    assert field.lanes.tolist() == [[1, 0]] and field.lanes.dtype == np.uint8


@pytest.mark.parametrize("terms", [{"space_compat": 1, "color_compat": 0}, {"space_compat": 0, "color_compat": 1}])
def test_a_single_pixel_by_hand(terms):
    """The filter gives a lone pixel its own probabilities back: a round adds compat * Q to their logarithms."""
    priors = priors_from_probs(np.array([[[0.5, 0.25, 0.25]]], np.float32))
    start = np.log([0.5, 0.25, 0.25])
    once = soften(start + np.array([0.5, 0.25, 0.25]))
    assert once[0] == pytest.approx(0.5 * 1.648721 / (0.5 * 1.648721 + 0.5 * 1.284025), rel=1e-5)
    assert run_all_rounds(BLACK, priors, n_iterations=1, **terms).probs[0, 0] == pytest.approx(once, rel=1e-5)
    twice = soften(start + np.array(once))
    assert run_all_rounds(BLACK, priors, n_iterations=2, **terms).probs[0, 0] == pytest.approx(twice, rel=1e-5)


def test_both_terms_add_up():
    priors = priors_from_probs(np.array([[[0.6, 0.4]]], np.float32))
    expected = soften(np.log([0.6, 0.4]) + 3 * np.array([0.6, 0.4]))
    field = run_all_rounds(BLACK, priors, n_iterations=1, space_compat=2, color_compat=1)
    assert field.probs[0, 0] == pytest.approx(expected, rel=1e-5)


def test_a_lane_counts_for_all_its_classes():
    """Two unseeded classes share a lane: as for three classes of 0.5, 0.25 and 0.25."""
    priors = priors_from_seeds(np.array([[1]]), n_classes=2, gt_prob=0.5)
    assert priors.multiplicity.tolist() == [2, 1]
    expected = soften(np.log([0.5, 0.25, 0.25]) + np.array([0.5, 0.25, 0.25]))
    field = run_all_rounds(BLACK, priors, n_iterations=1, space_compat=1, color_compat=0)
    assert field.probs[0, 0] == pytest.approx([expected[1], expected[0]], rel=1e-5)


def test_far_pixels_do_not_hear_one_another():
    probs = np.full((1, 1000, 2), 0.5, np.float32)
    probs[0, 0], probs[0, 999] = (0.9, 0.1), (0.2, 0.8)
    field = run_all_rounds(np.zeros((1, 1000, 1), np.uint8), priors_from_probs(probs), theta=10, n_iterations=1)
    assert field.lanes[0, [0, 20, 979, 999]].tolist() == [0, 0, 1, 1]
    assert field.probs[0, 500] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_colours_far_apart_do_not_hear_one_another(paint):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 200
    probs = np.full((8, 8, 2), 0.5, np.float32)
    probs[3, 1] = 0.1, 0.9
    field = run_all_rounds(image, priors_from_probs(probs), theta=10, space_compat=0, n_iterations=3)
    assert (field.lanes[:, :4] == 1).all()
    assert field.probs[:, 4:] == pytest.approx(np.full((8, 4, 2), 0.5), abs=1e-6)


@pytest.fixture(scope="module")
def scene(paint, scatter):
    """Nine blocks of 128 px: (image, priors)."""
    rng = np.random.default_rng(3)
    image = paint("smooth", (300, 290, 3), rng)
    return image, priors_from_seeds(scatter((300, 290), 5, 0.01, rng), n_classes=5, gt_prob=0.5)


@pytest.fixture(scope="module")
def one_thread(scene):
    return run_all_rounds(*scene, n_threads=1, n_iterations=3)


@pytest.mark.parametrize("n_threads", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 4, 16))])
def test_threads(scene, one_thread, n_threads):
    """Any number of threads gives the same bits each time, and the labels of one; 16 are more than there are blocks."""
    image, priors = scene
    first, other = (run_all_rounds(image, priors, n_threads=n_threads, n_iterations=3) for _ in range(2))
    assert (other.lanes == first.lanes).all() and other.probs.tobytes() == first.probs.tobytes()
    assert (first.lanes == one_thread.lanes).mean() >= 0.9999
    # Sums are made in another order: where two classes are all but even, some rounds make much of the last bit.
    assert (np.abs(first.probs - one_thread.probs).max(axis=2) < 0.03).mean() >= 0.9999


def test_threads_beyond_a_single_block():
    priors = priors_from_probs(np.array([[[0.2, 0.8]]], np.float32))
    assert run_all_rounds(BLACK, priors, n_threads=64).lanes.tolist() == [[1]]


# Each of these takes other loops: 3 corners alone, 4 to 7 corners of colour, and every width of the lanes.
WIDTHS = [(1, 2), (2, 4), (3, 8), (4, 16), (3, 24), (3, 32), (3, 48), (1, 64), (3, 128), (3, 254)]


@pytest.mark.slow
@pytest.mark.parametrize(("n_bands", "n_classes"), WIDTHS)
def test_instruction_sets(paint, scatter, n_bands, n_classes):
    rng = np.random.default_rng(n_classes)
    image = paint("smooth", (60, 70, n_bands), rng)
    priors = priors_from_seeds(scatter((60, 70), n_classes, 0.3, rng), n_classes=n_classes, gt_prob=0.5)
    options = CrfOptions(theta=8, color_scale=10, n_iterations=5, tolerance=0)
    sets = _kernel.list_instruction_sets()
    assert sets[0] == "plain"
    for terms in ({}, {"space_compat": 0}, {"color_compat": 0}):
        fields = [
            run_native(image, priors, options=replace(options, **terms), want_probs=True, instruction_set=name)
            for name in [*sets, ""]
        ]
        for field in fields[1:]:
            assert (field.lanes == fields[0].lanes).mean() >= 0.9999
            assert np.abs(field.probs - fields[0].probs).max() < 0.03
        # An empty name is the best set.
        assert fields[-1].probs.tobytes() == fields[-2].probs.tobytes()


def test_an_instruction_set_that_is_not_there(scene):
    with pytest.raises(ValueError, match="no instruction set 'sse9'"):
        run_native(*scene, options=CrfOptions(), instruction_set="sse9")


def test_arrays_that_do_not_fit_are_refused(scene):
    """Beside the checks of `refine_labels`: the loops would read beyond the arrays."""
    image, priors = scene
    for wrong in (image[:-1].copy(), image[:, :, 0].copy(), np.zeros((300, 290, 5), np.uint8), image[:0]):
        with pytest.raises(ValueError, match=r"image must be|bands|not of as many pixels|maximum"):
            run_native(wrong, priors, options=CrfOptions())
    with pytest.raises(ValueError, match=r"multiplicity"):
        run_native(image, replace(priors, multiplicity=priors.multiplicity[:-1].copy()), options=CrfOptions())


@pytest.mark.parametrize("n_threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_ends_a_long_run(n_threads, launch):
    program = f"""
        import numpy as np
        from hybridseg.crf.options import CrfOptions
        from hybridseg.crf.refine import refine_labels
        image = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
        seeds = np.ones((400, 400), np.uint8)
        seeds[:200] = 2
        options = CrfOptions(n_iterations=10_000, tolerance=0, n_threads={n_threads}, engine="native")
        print("ready", flush=True)
        try:
            refine_labels(image, seeds, n_classes=2, options=options)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with launch(command) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5)
            assert process.poll() is None, "the run was too short to be interrupted"
            start = time.perf_counter()
            os.kill(process.pid, signal.SIGINT)
            assert process.communicate(timeout=30)[0] == "interrupted\n"
            assert time.perf_counter() - start < 5  # Alone on the machine it takes 0.2 s.
        finally:
            process.kill()


@pytest.mark.parametrize("engine", ["native", pytest.param("pydensecrf", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "n_calls", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(9, marks=pytest.mark.slow)]
)
def test_a_check_ends_a_run(scene, engine, n_calls):
    """What it raises is what comes back, and nothing is asked after it; the next run is whole."""
    if engine == "pydensecrf":
        pytest.importorskip("pydensecrf")
    image, calls = scene[0], []
    seeds = np.zeros(image.shape[:2], np.uint8)
    seeds[0, 0] = 1

    def check():
        calls.append(1)
        if len(calls) == n_calls:
            raise TimeoutError("enough")

    options = CrfOptions(tolerance=0, n_iterations=20, engine=engine)
    with ended_by(check), pytest.raises(TimeoutError, match="enough"):
        refine_labels(image, seeds, n_classes=1, options=options)
    assert len(calls) == n_calls
    assert refine_labels(image, seeds, n_classes=1, options=replace(options, n_iterations=1)).n_iterations == 1


@pytest.mark.slow
def test_a_check_is_heard_within_a_pass():
    """Of a large image a single pass can take seconds."""
    image = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    seeds = np.zeros(image.shape[:2], np.uint8)
    seeds[0, 0] = 1
    calls = []
    with ended_by(lambda: calls.append(time.perf_counter())):
        options = CrfOptions(tolerance=0, n_iterations=1, engine="native", n_threads=1, space_compat=0)
        refine_labels(image, seeds, n_classes=1, options=options)
    # Before the lattice, at four places while it is built, at the beginning and in each of two passes: if it were only
    # between passes.
    assert len(calls) > 12


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2, reason="needs two cores")
def test_threads_that_wait_leave_the_core_to_others(launch):
    # OpenMP counts the cores when it is loaded; with one of them gone, two threads take turns.
    program = """
        import os, time
        import numpy as np
        from hybridseg.crf.options import CrfOptions
        from hybridseg.crf.refine import refine_labels
        image = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
        seeds = np.ones((150, 150), np.uint8)
        seeds[:75] = 2
        def measure(n_threads):
            options = CrfOptions(theta=10, tolerance=0, n_threads=n_threads, engine="native")
            start = time.process_time()
            refine_labels(image, seeds, n_classes=2, options=options)
            return time.process_time() - start
        measure(2)
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
        print(measure(1), measure(2))
    """
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    with launch([sys.executable, "-c", textwrap.dedent(program)], env=settings) as process:
        alone, together = map(float, process.communicate(timeout=60)[0].split())
    assert together < 3 * alone + 0.05, (alone, together)


def _refine_in_child(queue) -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    seeds = np.zeros((200, 300), np.uint8)
    seeds[3, 3] = 1
    options = CrfOptions(n_threads=2, gt_prob=0.9, engine="native")
    queue.put(int((refine_labels(image, seeds, n_classes=1, options=options).labels == 0).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_can_use_it_too():
    """With GNU's OpenMP it would wait for ever for the threads of its parent."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    _refine_in_child(queue)
    expected = queue.get(timeout=30)
    child = context.Process(target=_refine_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=30) == expected > 0
    finally:
        child.kill()
        child.join()


NO_SUCH_CALLS = {
    "a value that is no number": ({"image": np.full((2, 3, 3), np.nan, np.float32)}, "values of the image"),
    "a value below 0": ({"image": np.full((2, 3, 3), -1e30, np.float32)}, "values of the image"),
    "a value above the largest": ({"image": np.full((2, 3, 3), 7, np.uint8), "largest_value": 6.0}, "values of the im"),
    "no pixel": ({"image": np.zeros((0, 3, 3), np.uint8), "priors": np.ones((0, 2), np.float32)}, "rows and columns"),
    "too many bands": ({"image": np.zeros((2, 3, 5), np.uint8)}, "bands"),
    "a prior that there is not": ({"row_of_pixel": np.full((2, 3), 6, np.int32)}, "priors that there are not"),
    "priors of fewer pixels": ({"priors": np.ones((5, 2), np.float32)}, "as many pixels"),
    **{
        f"{n} lanes": ({"priors": np.ones((6, n), np.float32), "multiplicity": np.ones(n, np.float32)}, "256 lanes")
        for n in (0, 257)
    },
    "no width": ({"theta": float("nan")}, "widths"),
    "a place outside": ({"origin": (-1, 0)}, "begins in it"),
}


@pytest.mark.parametrize("name", NO_SUCH_CALLS)
def test_what_the_loops_cannot_rely_on_is_refused(name):
    """Each of them would make the loops write beyond their arrays; many more go through `make sanitize`."""
    call = {
        "image": np.zeros((2, 3, 3), np.uint8), "largest_value": 255.0, "origin": (0, 0), "floor": 1e-5,
        "priors": np.full((6, 2), 0.5, np.float32), "row_of_pixel": None, "multiplicity": np.ones(2, np.float32),
        "theta": 1.0, "space_theta": 1.0, "color_scale": 1.0, "space_compat": 1.0, "color_compat": 1.0,
        "n_iterations": 2, "tolerance": 0.0, "exchanged_sides": False, "n_threads": 1, "max_bytes": 2**30,
        "instruction_set": "", "want_probs": True, "checkpoint": checkpoint,
    }  # fmt: skip
    assert _kernel.infer(**call)[0].shape == (2, 3)
    changes, words = NO_SUCH_CALLS[name]
    with pytest.raises(ValueError, match=words):
        _kernel.infer(**{**call, **changes})
