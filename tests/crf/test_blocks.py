import numpy as np
import pytest

from hybridseg.crf.blocks import Block, plan_blocks


def test_a_block_by_hand():
    block = Block(top=100, bottom=200, left=0, right=64, halo=30, shape=(210, 300))
    assert block.inner == np.s_[100:200, 0:64]
    assert block.outer == np.s_[70:210, 0:94]  # It ends where the image ends.
    assert block.inner_of_outer == np.s_[30:130, 0:64]
    assert block.n_outer_pixels == 140 * 94
    assert block.n_inland_pixels == 160 * 124
    assert Block(top=0, bottom=90, left=0, right=64, halo=90, shape=(210, 200)).n_inland_pixels == 210 * 200


def test_the_halo_is_three_standard_deviations_wide():
    assert Block.whole((10, 20), theta=60).halo == 180
    assert Block.whole((10, 20), theta=0.1).halo == 1


@pytest.mark.parametrize("shape", [(1000, 700), (1, 5000), (130, 129), (64, 64)])
@pytest.mark.parametrize("max_pixels", [1e9, 60_000, 1])
def test_blocks_cover_each_pixel_once(shape, max_pixels):
    whole = Block.whole(shape, theta=5)
    blocks = plan_blocks(whole, max_pixels=max_pixels)
    n_times = np.zeros(shape, int)
    numbers = np.arange(n_times.size).reshape(shape)
    for block in blocks:
        n_times[block.inner] += 1
        assert (numbers[block.outer][block.inner_of_outer] == numbers[block.inner]).all()
    assert (n_times == 1).all()
    assert len(blocks) == 1 or max(block.n_outer_pixels for block in blocks) <= max(max_pixels, 127**2 + 4 * 127 * 30)


def test_no_more_cuts_than_are_wanted():
    whole = Block.whole((400, 400), theta=10)
    assert plan_blocks(whole, max_pixels=400 * 400) == [whole]
    assert len(plan_blocks(whole, max_pixels=400 * 400 - 1)) == 2


def test_small_blocks_are_not_cut():
    assert Block.whole((127, 127), theta=1).split() == []
    assert len(Block.whole((128, 2), theta=1).split()) == 2


def test_halves_that_look_at_as_much_are_no_help():
    """With a halo that reaches over the whole image each part would take as much memory as all of it."""
    assert Block.whole((1000, 1000), theta=400).split() == []
    assert plan_blocks(Block.whole((4000, 4000), theta=1000), max_pixels=1) == [Block.whole((4000, 4000), theta=1000)]
