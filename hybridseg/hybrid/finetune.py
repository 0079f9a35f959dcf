"""Fine-tune the backbone together with a trained head: slow, but often worth a last percent of accuracy.

After each epoch everything that the next one depends on is saved, so a run that is stopped in any way resumes with
the next epoch and ends with the same weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridseg.errors import BadInput
from hybridseg.forecast import Weighted
from hybridseg.hybrid.distort import DistortOptions, distort_tiles
from hybridseg.hybrid.head import CLASS_WEIGHTS, Head, weigh_classes
from hybridseg.hybrid.tilefolder import TileFolder
from hybridseg.models.backbones import Backbone
from hybridseg.models.checkpoints import restore_state, save_state
from hybridseg.models.engines import explained_failures
from hybridseg.models.startup import make_deterministic
from hybridseg.options import Span, check_options, option
from hybridseg.progress import Progress, no_progress

logger = logging.getLogger(__name__)

_BATCH = 32
# Of a tile in an epoch with the built-in backbone, on two cores.
TILE_SECONDS = 0.034


@dataclass(frozen=True)
class FineTuneOptions:
    """How the backbone is trained; `class_weights` as in `HeadOptions`."""

    epochs: int = option(5, "Epochs of fine-tuning.", span=Span(1))
    learning_rate: float = option(
        1e-4,
        "Learning rate of fine-tuning; a high one destroys the pretrained weights.",
        span=Span(0, 1, above=True, below=True),
    )
    class_weights: str = option("none", choices=CLASS_WEIGHTS)
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


def fine_tune(
    backbone: Backbone,
    head: Head,
    folder: TileFolder,
    indices: np.ndarray,
    *,
    tile_size: int,
    options: FineTuneOptions,
    distort: DistortOptions,
    checkpoint_path: Path,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    progress: Progress = no_progress,
) -> Head:
    """Train backbone and head together; the backbone's variables change in place.

    Parameters
    ----------
    backbone : Backbone
        Loaded with `trainable`.
    indices : numpy.ndarray
        The training tiles.
    checkpoint_path : pathlib.Path
        Its name has to change with everything that the result depends on.
    on_epoch : callable
        Called with the number of the epoch and its mean cross entropy.

    Raises
    ------
    BadInput
        When the backbone cannot be trained.
    """
    import tensorflow as tf
    import tf_keras

    if not backbone.variables:
        raise BadInput(f"{backbone.handle} cannot be fine-tuned: {backbone.why_frozen}; leave --fine-tune out")
    make_deterministic(options.seed)
    weights, bias = tf.Variable(head.weights), tf.Variable(head.bias)
    variables = [*backbone.variables, weights, bias]
    optimizer = tf_keras.optimizers.Adam(options.learning_rate)
    optimizer.build(variables)
    state = [*variables, *optimizer.variables]
    n_done = _restore(checkpoint_path, state, n_epochs=options.epochs)
    class_weights = weigh_classes(folder.class_ids[indices], len(folder.table), options.class_weights)
    learn = _make_step(backbone, weights, bias, variables, optimizer)
    n_batches = -(-len(indices) // _BATCH)
    steps = Weighted(range(n_done * n_batches, options.epochs * n_batches), _BATCH * TILE_SECONDS)
    for step in progress(steps, label="fine-tuning"):
        epoch, place = divmod(step, n_batches)
        if place == 0:
            rng, losses = np.random.default_rng((options.seed, 2, epoch)), []
            order = rng.permutation(indices)
        batch = order[place * _BATCH : (place + 1) * _BATCH]
        pixels = distort_tiles(folder.read_tiles(batch, tile_size=tile_size), distort, rng)
        truth = folder.class_ids[batch]
        with explained_failures(backbone.handle, "be fine-tuned on these tiles"):
            losses.append(float(learn(pixels, truth, class_weights[truth])))
        if not np.isfinite(losses[-1]):
            raise BadInput(
                f"fine-tuning {backbone.handle} came to a cross entropy of {losses[-1]}; use a lower learning rate"
            )
        if place == n_batches - 1:
            save_state(checkpoint_path, state, {"n_done": epoch + 1})
            logger.debug("epoch %d: cross entropy %.4f", epoch + 1, np.mean(losses))
            on_epoch(epoch + 1, float(np.mean(losses)))
    return Head(weights.numpy(), bias.numpy())


def _make_step(backbone: Backbone, weights: Any, bias: Any, variables: list[Any], optimizer: Any) -> Any:
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def learn(pixels: Any, truth: Any, importance: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = tf.matmul(backbone.extract(pixels), weights) + bias
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)
            loss = tf.reduce_mean(losses * importance)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return learn


def _restore(path: Path, state: list[Any], *, n_epochs: int) -> int:
    """Restore the last finished epoch if it is not beyond the wanted ones; return the number of finished epochs."""
    record = restore_state(path, state, accept=lambda record: record["n_done"] <= n_epochs)
    if record is None:
        return 0
    logger.info("resuming after epoch %d", record["n_done"])
    return record["n_done"]
