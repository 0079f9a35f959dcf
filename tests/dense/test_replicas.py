"""Two devices learn what one would: in a process of its own, since devices are made before TensorFlow starts."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, os, sys
from pathlib import Path
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from hybridseg.dense import replicas
from hybridseg.dense.fit import FitOptions
from hybridseg.dense.policy import read_policy
from hybridseg.dense.programs.unet import UnetOptions
from hybridseg.dense.programs.unetlmdb import train_on_databases
from hybridseg.dense.readers import ReaderOptions
from hybridseg.dense.schedules import Schedule
from hybridseg.dense.trainer import TrainingPaths
from hybridseg.models.losses import LossOptions

def main():
    data, out = map(Path, sys.argv[1:])
    fit = FitOptions(2, LossOptions("cross-entropy"), Schedule(0.01, 0.01, 0.01))
    # Dropout draws a mask for each device.
    options = UnetOptions("none", "plain", (4, 4, 3, 3), 0.0, batch_size=4, fit=fit, augment=read_policy("nist"))
    found = {}
    for n_devices in (1, 2):
        replicas.list_devices = lambda: ["CPU:0", "CPU:1"][:n_devices] if n_devices > 1 else []
        paths = TrainingPaths(out / f"{n_devices}/model.h5", out / str(n_devices), plots=False)
        result = train_on_databases(
            data / "train-cells.lmdb", data / "test-cells.lmdb", paths=paths, options=options, readers=ReaderOptions(2)
        )
        weights = np.concatenate([w.ravel() for w in result.model.network.get_weights()])
        found[n_devices] = [[e.loss for e in result.history], [e.val_loss for e in result.history], weights.tolist()]
    try:
        replicas.list_devices = lambda: ["CPU:0", "CPU:1", "CPU:2"]
        paths = TrainingPaths(out / "3/model.h5", out / "3", plots=False)
        train_on_databases(
            data / "train-cells.lmdb", data / "test-cells.lmdb", paths=paths, options=options, readers=ReaderOptions(2)
        )
    except ValueError as error:
        found[3] = str(error)
    print(json.dumps(found))

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_would(cells, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, cells / "data", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    losses, tests, weights = (list(zip(*both, strict=True)) for both in zip(found["1"], found["2"], strict=True))
    # Of the first two steps, the second after a change of the weights; later, rounding tells.
    assert losses[0][0] == pytest.approx(losses[0][1], abs=1e-4)
    assert losses[1][0] == pytest.approx(losses[1][1], abs=5e-3) and losses[1][0] < losses[0][0]
    assert tests[0][0] == pytest.approx(tests[0][1], abs=5e-3)
    assert np.abs(np.subtract(*np.array(weights).T)).max() < 0.01
    assert "--batch_size 4 cannot be divided among 3 graphics cards; give a multiple of 3" in found["3"]
