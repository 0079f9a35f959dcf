import numpy as np
import pytest

import hybridseg.hybrid.head as head_module
from hybridseg.errors import BadInput
from hybridseg.hybrid.head import HeadOptions, HeadTrainer, measure, train_head, weigh_classes
from hybridseg.progress import no_progress


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


class Stopped(Exception):
    pass


def stop_before(step):
    """Make a progress hook that stops a training before one of its steps, and notes those that were made."""
    made = []

    def progress(items, *, label):
        for item in items:
            if item == step:
                raise Stopped
            made.append(item)
            yield item

    return progress, made


@pytest.mark.parametrize("patience", [0, 4])
def test_a_run_that_was_stopped_goes_on_and_ends_the_same(tmp_path, monkeypatch, patience):
    monkeypatch.setattr(head_module, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    features, class_ids = make_blobs(n=60)
    v_features, v_ids = make_blobs(n=300, seed=1)
    noise = np.random.default_rng(1).integers(0, 3, 60) if patience else class_ids
    options = HeadOptions(how_many_training_steps=100, learning_rate=0.5, eval_step_interval=3, patience=patience)

    def distort(chosen, rng):
        return features[chosen] + rng.normal(size=(len(chosen), features.shape[1])).astype(np.float32)

    def train(checkpoint, progress=no_progress):
        trainer, curve, steps = HeadTrainer(features, noise, n_classes=3, options=options, source=distort), [], []
        head = train_head(
            trainer, validation_features=v_features, validation_ids=v_ids, on_measurement=curve.append,
            on_step=lambda step, get_head: steps.append(step), checkpoint_path=checkpoint, progress=progress,
        )  # fmt: skip
        return head, curve, steps

    whole, curve, steps = train(None)
    path, n_done = tmp_path / "head.npz", []
    assert bool(patience) == (len(steps) < 100)
    for stop in (1, 5, 9, steps[-1]):
        progress, made = stop_before(stop)
        with pytest.raises(Stopped):
            train(path, progress)
        n_done += made
    for _ in range(2):
        head, resumed, again = train(path)
        n_done += again
        assert np.array_equal(head.weights, whole.weights) and np.array_equal(head.bias, whole.bias)
        assert resumed == curve
    assert n_done == steps, "no step is made twice, and none when all are done"


def test_a_checkpoint_is_written_every_few_seconds(tmp_path, monkeypatch):
    features, class_ids = make_blobs()
    clock = [0.0]
    saved = []
    monkeypatch.setattr(head_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(HeadTrainer, "save", lambda trainer, path: saved.append(trainer.n_steps))

    def progress(items, *, label):
        for item in items:
            clock[0] += 2.0
            yield item

    trainer = HeadTrainer(features, class_ids, n_classes=3, options=HeadOptions(how_many_training_steps=14))
    train_head(
        trainer, validation_features=features[:0], validation_ids=class_ids[:0], checkpoint_path=tmp_path / "a.npz",
        progress=progress,
    )  # fmt: skip
    assert saved == [6, 12, 14]


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
