import numpy as np
import pytest

from hybridseg.errors import BadInput
from hybridseg.hybrid.head import HeadOptions, HeadTrainer, measure, train_head, weigh_classes


def make_blobs(n=300, n_classes=3, n_features=20, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, n_features)) * 2
    class_ids = rng.integers(0, n_classes, n)
    return (centres[class_ids] + rng.normal(size=(n, n_features))).astype(np.float32) + 5, class_ids


def run(features, class_ids, validation=None, n_classes=3, **options):
    trainer = HeadTrainer(features, class_ids, n_classes=n_classes, options=HeadOptions(**options))
    v_features, v_ids = validation if validation is not None else (features[:0], class_ids[:0])
    curve = []
    head = train_head(trainer, validation_features=v_features, validation_ids=v_ids, on_measurement=curve.append)
    return head, curve


def test_it_learns_and_the_folded_weights_apply_to_raw_features():
    features, class_ids = make_blobs()
    head, curve = run(features, class_ids, how_many_training_steps=400)
    accuracy, loss = measure(head.predict(features), class_ids)
    assert accuracy > 0.97 and loss < 0.2
    assert len(curve) == 40 and curve[-1].train_cross_entropy < curve[0].train_cross_entropy
    assert np.allclose(head.predict(features).sum(axis=1), 1, atol=1e-5)


def test_one_step_by_hand():
    features, class_ids = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), np.array([0, 1])
    options = HeadOptions(how_many_training_steps=1, learning_rate=0.5, train_batch_size=4)
    trainer = HeadTrainer(features, class_ids, n_classes=2, options=options)
    _, loss = trainer.step()
    assert loss == pytest.approx(np.log(2))
    # The gradient of class 0 is the mean of (p - 1) * x over its tiles and p * x over the others: -x/2 each.
    assert trainer.head.weights[0].tolist() == pytest.approx([0.25, -0.25])
    assert trainer.head.weights[1].tolist() == [0, 0], "a feature that never varies is not learned from"


def test_the_same_seed_gives_the_same_head():
    features, class_ids = make_blobs()
    a, b, c = (run(features, class_ids, how_many_training_steps=50, seed=s)[0] for s in (1, 1, 2))
    assert np.array_equal(a.weights, b.weights) and not np.array_equal(a.weights, c.weights)


def test_patience_stops_and_the_best_head_is_kept():
    features, _ = make_blobs(n=60)
    noise = np.random.default_rng(1).integers(0, 3, 60)
    v_features, v_ids = make_blobs(n=60)
    head, curve = run(features, noise, (v_features, v_ids), how_many_training_steps=3000, learning_rate=0.5, patience=5)
    assert len(curve) < 100
    best = min(curve, key=lambda m: m.validation_cross_entropy)
    _, loss = measure(head.predict(v_features), v_ids)
    assert loss == pytest.approx(best.validation_cross_entropy, abs=1e-4)


def test_balanced_weights():
    ids = np.array([0] * 9 + [1])
    assert weigh_classes(ids, 2, "balanced").tolist() == pytest.approx([10 / 18, 5.0])
    assert weigh_classes(ids, 2, "none").tolist() == [1, 1]
    features, class_ids = make_blobs(n=400, n_classes=2, n_features=2)
    rare = np.concatenate([np.flatnonzero(class_ids == 0), np.flatnonzero(class_ids == 1)[:6]])
    plain, _ = run(features[rare], class_ids[rare], n_classes=2, how_many_training_steps=150)
    fair, _ = run(features[rare], class_ids[rare], n_classes=2, how_many_training_steps=150, class_weights="balanced")
    recall = [(h.predict(features[class_ids == 1]).argmax(axis=1) == 1).mean() for h in (plain, fair)]
    assert recall[1] > recall[0]


@pytest.mark.parametrize(
    "values",
    [{"how_many_training_steps": 0}, {"learning_rate": 0}, {"train_batch_size": 0}, {"validation_batch_size": 0},
     {"patience": -1}, {"class_weights": "fair"}, {"eval_step_interval": 0}],
)  # fmt: skip
def test_options_that_cannot_work(values):
    with pytest.raises(BadInput, match=next(iter(values))):
        HeadOptions(**values)
