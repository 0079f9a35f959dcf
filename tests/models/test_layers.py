import numpy as np

from hybridseg.models.layers import make_dropout


def test_dropout_draws_anew_at_every_step():
    layer = make_dropout(0.5, "drop")
    ones = np.ones((1, 4000), np.float32)
    draws = [layer(ones, training=True).numpy() for _ in range(2)]
    assert layer.count.numpy() == 2 and not np.array_equal(*draws)
    assert set(np.unique(draws[0])) == {0, 2} and abs(draws[0].mean() - 1) < 0.1
    assert np.array_equal(layer(ones), ones) and layer.count.numpy() == 2
    layer.count.assign(0)
    assert np.array_equal(layer(ones, training=True), draws[0])
    assert not np.array_equal(make_dropout(0.5, "other")(ones, training=True), draws[0])
