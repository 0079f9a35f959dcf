"""One training on several graphics cards of a machine: each takes its share of every batch, and all learn the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.machine import count_cores
from hybridseg.markup import count_of

if TYPE_CHECKING:
    import tf_keras


def list_devices() -> list[str]:
    """List the graphics cards that TensorFlow uses."""
    import tensorflow as tf

    return [device.name for device in tf.config.list_logical_devices("GPU")]


def describe_device(*, alone: bool) -> str:
    """Return in words what a training runs on: graphics cards where TensorFlow finds them, and else the processor.

    Parameters
    ----------
    alone : bool
        Of several cards, name the first: the one that does all of the work.
    """
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    if not cards:
        return f"device: CPU, {count_of(count_cores(), 'core')}; TensorFlow finds no graphics card"
    names = [tf.config.experimental.get_device_details(card).get("device_name", card.name) for card in cards]
    return f"device: GPU, {', '.join(names[:1] if alone else names)}"


@contextmanager
def replicate(
    network: tf_keras.Model, build: Callable[[], tf_keras.Model], batch_size: int
) -> Iterator[tuple[tf_keras.Model, Callable[[], None]]]:
    """Yield the network that is to be trained, and a function that brings what it learned back to `network`.

    With several graphics cards it is a copy with its weights on each of them; otherwise it is `network` itself.

    Raises
    ------
    BadInput
        When a batch cannot be divided among the cards.
    """
    import tensorflow as tf

    devices = list_devices()
    if len(devices) < 2:
        yield network, lambda: None
        return
    if batch_size % len(devices):
        raise BadInput(
            f"--batch_size {batch_size} cannot be divided among {len(devices)} graphics cards; give a multiple of "
            f"{len(devices)}, or let fewer be seen: CUDA_VISIBLE_DEVICES=0"
        )
    with tf.distribute.MirroredStrategy(devices).scope():
        copy = build()
        copy.set_weights(network.get_weights())
        yield copy, lambda: network.set_weights(copy.get_weights())


def count_replicas() -> int:
    """Return how many copies of a network are trained together here."""
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def weigh_share(value: Any, labels: Any) -> Any:
    """Return the loss of a share of a batch, so that the sum over all shares is the mean over its labelled pixels."""
    import tensorflow as tf

    if count_replicas() < 2:
        return value
    n_pixels = tf.reduce_sum(tf.cast(labels != VOID, tf.float32))
    context = tf.distribute.get_replica_context()
    return value * tf.math.divide_no_nan(n_pixels, context.all_reduce(tf.distribute.ReduceOp.SUM, n_pixels))


def spread(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a training step that gives each copy of the network its share of the batch.

    Parameters
    ----------
    step : callable
        From images and labels to a loss, see `weigh_share`, and the class of every pixel.
    """
    import tensorflow as tf

    if count_replicas() < 2:
        return step
    strategy = tf.distribute.get_strategy()

    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        n_images = tf.shape(images)[0] // strategy.num_replicas_in_sync

        def cut(whole: Any) -> Any:
            def take(context: Any) -> Any:
                start = context.replica_id_in_sync_group * n_images
                return whole[start : start + n_images]

            return strategy.experimental_distribute_values_from_function(take)

        losses, found = strategy.run(step, args=(cut(images), cut(labels)))
        classes = tf.concat(strategy.experimental_local_results(found), 0)
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None), classes

    return run
