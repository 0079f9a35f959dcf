import numpy as np
import pytest

from hybridseg.calibration import measure_calibration


def test_calibration_by_hand():
    calibration = measure_calibration(np.array([0.95, 0.95, 0.6, 1.0]), np.array([True, False, True, True]))
    assert calibration.counts.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 3]
    assert calibration.accuracy[9] == pytest.approx(2 / 3)
    assert calibration.error == pytest.approx((0.4 + 3 * abs(2.9 / 3 - 2 / 3)) / 4)


def test_the_direction_does_not_matter():
    confidence = np.array([0.875, 0.625])
    for right in ([True, True], [False, True]):
        assert measure_calibration(confidence, np.array(right)).error == pytest.approx(
            np.mean(np.abs(confidence - right))
        )
