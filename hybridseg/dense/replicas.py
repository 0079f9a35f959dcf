"""One training on several devices, here or on several machines: each takes its share of a batch, all learn alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridseg.classes import VOID
from hybridseg.errors import BadInput
from hybridseg.machine import count_cores
from hybridseg.markup import count_of
from hybridseg.models.layers import sum_copies

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


def choose_strategy(name: str | None, *, has_full_batches: bool) -> Any:
    """Return the strategy of TensorFlow for the graphics cards of this machine; None: the first does all of the work.

    Parameters
    ----------
    name : str or None
        None: all of them take part where every batch is of one size, as those of a database are.

    Raises
    ------
    BadInput
        When several are asked for, and there are fewer.
    """
    import tensorflow as tf

    devices = list_devices()
    if name is not None and len(devices) < 2:
        raise BadInput(
            f"--strategy {name} is for several graphics cards, and TensorFlow finds {len(devices) or 'none'} here; "
            "leave it out"
        )
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 and (name or has_full_batches) else None


@contextmanager
def replicate(
    network: tf_keras.Model, build: Callable[[], tf_keras.Model], batch_size: int, strategy: Any
) -> Iterator[tuple[tf_keras.Model, Callable[[], None]]]:
    """Yield the network that is to be trained, and a function that brings what it learned back to `network`.

    With a strategy it is a copy with its weights on each of several devices; otherwise it is `network` itself.

    Raises
    ------
    BadInput
        When a batch cannot be divided among them.
    """
    import tf_keras

    if strategy is None:
        yield network, lambda: None
        return
    n_copies, n_own = strategy.num_replicas_in_sync, len(strategy.extended.worker_devices)
    if batch_size % n_copies:
        what = f"{n_copies} graphics cards" if n_own > 1 else f"{n_copies} machines"
        fewer = "; or let fewer be seen: CUDA_VISIBLE_DEVICES=0" if n_own == n_copies else ""
        raise BadInput(
            f"--batch_size {batch_size} cannot be divided among {what}; give a multiple of {n_copies}{fewer}"
        )
    with strategy.scope():
        copy = build()
        copy.set_weights(network.get_weights())
        # Starting from pretrained weights may have frozen some of the layers.
        is_trained = {
            part.name: part.trainable for part in network.submodules if isinstance(part, tf_keras.layers.Layer)
        }
        for part in copy.submodules:
            if isinstance(part, tf_keras.layers.Layer):
                part.trainable = is_trained.get(part.name, part.trainable)
        yield copy, lambda: network.set_weights(read_values(copy.weights))


def read_values(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return the values of variables as this machine has them; of the copies on several devices, the first.

    All copies are the same. That of the strategy itself would be a mean, for which every machine must ask at once.
    """
    import tensorflow as tf

    local = tf.distribute.get_strategy().experimental_local_results
    return [local(variable)[0].numpy() for variable in variables]


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
    return value * tf.math.divide_no_nan(n_pixels, sum_copies(n_pixels))


def spread(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a training step that gives each copy of the network on this machine its share of the images.

    The loss is that of all machines, the classes are those of the images of this one.

    Parameters
    ----------
    step : callable
        From images and labels to a loss, see `weigh_share`, and the class of every pixel.
    """
    import tensorflow as tf

    if count_replicas() < 2:
        return step
    strategy = tf.distribute.get_strategy()

    n_devices = len(strategy.extended.worker_devices)

    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        n_images = tf.shape(images)[0]

        def cut(whole: Any) -> Any:
            def take(context: Any) -> Any:
                number = context.replica_id_in_sync_group % n_devices
                first, end = n_images * number // n_devices, n_images * (number + 1) // n_devices
                # As `hybridseg.dense.machines.Share` has it.
                return tf.cond(n_images < n_devices, lambda: whole, lambda: whole[first:end])

            return strategy.experimental_distribute_values_from_function(take)

        losses, found = strategy.run(step, args=(cut(images), cut(labels)))
        classes = tf.concat(strategy.experimental_local_results(found), 0)[:n_images]
        return strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None), classes

    return run
