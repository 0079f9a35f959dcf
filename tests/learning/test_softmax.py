import numpy as np
import pytest

from hybridseg.learning.softmax import fit_softmax


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    features = rng.normal(size=(300, 12)) + np.eye(12)[targets] * 2
    return (features * rng.uniform(0.5, 20, 12) + rng.normal(0, 5, 12)).astype(np.float32), targets


def test_probabilities_of_a_well_known_program(samples):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, targets = samples
    found = fit_softmax(features, targets, n_classes=3, deviation=features.std(axis=0))
    scaled = StandardScaler().fit(features)
    # It sums the loss where we take the mean.
    reference = LogisticRegression(C=30 / len(targets), max_iter=1000).fit(scaled.transform(features), targets)
    probs = found.predict(features @ found.weights)
    np.testing.assert_allclose(probs, reference.predict_proba(scaled.transform(features)), atol=0.01)
    assert (probs.argmax(axis=1) == targets).mean() > 0.85


def test_a_feature_that_varies_elsewhere_decides_little(samples):
    features, targets = samples
    faint = np.where(targets == 0, 1e-2, 0)[:, None].astype(np.float32)
    both = np.concatenate([features, faint], axis=1)
    told = [np.append(features.std(axis=0), last).astype(np.float32) for last in (1e-2, 1.0)]
    alone, seldom = (abs(fit_softmax(both, targets, n_classes=3, deviation=one).weights[-1]).max() for one in told)
    assert alone > 100 * seldom


def test_samples_that_weigh_little(samples):
    features, targets = samples
    doubled, wrong = np.concatenate([features, features]), np.concatenate([targets, (targets + 1) % 3])
    weights = np.repeat([1.0, 0.01], 300)
    found = fit_softmax(doubled, wrong, n_classes=3, weights=weights, deviation=features.std(axis=0))
    assert (found.predict(features @ found.weights).argmax(axis=1) == targets).mean() > 0.85
