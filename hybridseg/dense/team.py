"""Who trains one network together: one process alone, or one on each of several machines."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from hybridseg.batch.madeby import list_changes
from hybridseg.dense.machines import Cluster, MachineOptions, Share
from hybridseg.dense.meeting import meet
from hybridseg.dense.runs import describe_changes
from hybridseg.errors import BadInput, BadUsage, HybridSegError, WorkerLost
from hybridseg.io.jsonfiles import parse_json_object
from hybridseg.models.cards import list_versions
from hybridseg.models.startup import import_tensorflow, is_running
from hybridseg.progress import Item, say

# A machine that says nothing for so long is taken for dead; one whose process ends is missed at once.
_HEARTBEAT_SECONDS = 30
# TensorFlow waits for the others without end, and deaf to Ctrl-C: where one goes just then, this ends it.
_START_SECONDS = 120
_CHECK_SECONDS = 5.0
_SAID = "hybridseg says: "
_ABORTED = 10
_TASK = re.compile(r"/job:worker/(?:replica:0/)?task:(\d+)")


class Team:
    """One process that trains alone, on one graphics card or on several."""

    share = Share()
    strategy: Any = None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the result."""
        return self.share.index == 0

    def exchange(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what each of the team gives, JSON-ready: all wait until every one has given it."""
        return [parse_json_object(json.dumps(record), finite=False)]

    def add(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the arrays of all, of one shape."""
        return values

    def spread(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays of the chief."""
        return list(arrays)

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items of work that is done without the others, as long as these are there."""
        return iter(items)

    def compare(self, settings: Mapping[str, Any]) -> None:
        """Raise BadInput unless all have the same settings, as JSON holds them."""


class Workers(Team):
    """One of several machines, each of which trains the same network on its share of every batch."""

    def __init__(self, cluster: Cluster, strategy: Any) -> None:
        self.share, self.strategy, self._cluster = cluster.share, strategy, cluster

    def add(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the arrays of all, of one shape."""
        import tensorflow as tf

        # An empty one crashes TensorFlow.
        return self.strategy.reduce("SUM", tf.constant(values), axis=None).numpy() if values.size else values

    def exchange(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what each of the team gives, JSON-ready: all wait until every one has given it."""
        text = np.frombuffer(json.dumps(record).encode(), np.uint8)
        lengths = np.zeros(self.share.count, np.int64)
        lengths[self.share.index] = len(text)
        lengths = self.add(lengths)
        texts = np.zeros((self.share.count, lengths.max()), np.int32)
        texts[self.share.index, : len(text)] = text
        rows = zip(self.add(texts).astype(np.uint8), lengths, strict=True)
        return [parse_json_object(row[:length].tobytes(), finite=False) for row, length in rows]

    def spread(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the arrays of the chief."""
        return [self.add(array if self.is_chief else np.zeros_like(array)) for array in map(np.asarray, arrays)]

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items of work that is done without the others, as long as these are there."""
        from tensorflow.python.eager import context

        since = time.monotonic()
        for item in items:
            yield item
            if time.monotonic() - since > _CHECK_SECONDS:
                since = time.monotonic()
                states = context.context().get_task_states([("worker", self.share.count)])
                for index, state in enumerate(states):
                    if state is not None:
                        raise self._tell_lost(index, str(state))

    def compare(self, settings: Mapping[str, Any]) -> None:
        """Raise BadInput unless all have the same settings, as JSON holds them."""
        first, *others = self.exchange(settings)
        for index, other in enumerate(others, 1):
            changes = list_changes(first, other)
            if changes:
                raise BadInput(
                    f"{self._cluster.name(index)} differs from the chief, which has {describe_changes(changes)}; give "
                    "the same command and the same data on all machines"
                )

    @contextmanager
    def working(self) -> Iterator[None]:
        """Return a context that tells the others when this one ends early, and the user when another one did."""
        import tensorflow as tf

        try:
            yield
            self.exchange({})
        except tf.errors.OpError as error:
            kinds = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
            if not isinstance(error, (*kinds, tf.errors.DeadlineExceededError)):
                self._announce(f"it stopped: {error.message.splitlines()[0]}")
                raise
            raise self._explain(error.message) from error
        except WorkerLost:
            raise
        except BaseException as error:
            self._announce("it was interrupted" if isinstance(error, KeyboardInterrupt) else f"it stopped: {error}")
            raise

    def _announce(self, text: str) -> None:
        """Let the collective operations of all others fail with a text."""
        from tensorflow.python.eager import context

        record = json.dumps([self.share.index, text[:500]])
        with suppress(Exception):
            context.context().report_error_to_cluster(_ABORTED, f"{_SAID}{record}")
            # Before this process, and with it perhaps the service that passes it on, is gone.
            time.sleep(1)

    def _explain(self, text: str) -> WorkerLost:
        said = text.partition(_SAID)[2]
        with suppress(ValueError, TypeError):
            index, reason = json.JSONDecoder().raw_decode(said)[0]
            return self._tell_lost(index, reason)
        others = [int(index) for index in _TASK.findall(text) if int(index) != self.share.index]
        return self._tell_lost(others[0] if others else None)

    def _tell_lost(self, index: int | None, reason: str = "") -> WorkerLost:
        who = "another worker" if index is None else self._cluster.name(index)
        what = reason if reason.startswith("it ") else "its process ended, or its machine cannot be reached any more"
        return WorkerLost(
            f"{who} is gone: {what.rstrip('.')}; the training stops on all machines, and the same command with "
            "--resume on each goes on after the last finished epoch"
        )


@contextmanager
def join_team(options: MachineOptions, on_start: Callable[[str], None] = say) -> Iterator[Team]:
    """Yield the team of a training; with several machines, once all of them are there.

    Raises
    ------
    BadInput
        When a machine does not come or differs from the chief.
    WorkerLost
        When one is gone before the end of the context.
    """
    cluster = options.find_cluster()
    if cluster is None:
        yield Team()
        return
    if is_running():
        raise BadUsage("TensorFlow is at work in this process already; train on several machines in a new one")
    versions = list_versions()
    about = {name: versions[name] for name in ("hybridseg", "tensorflow", "numpy")}
    meet(cluster, about, seconds=options.start_timeout)
    workers = Workers(cluster, _start(cluster))
    with workers.working():
        others = len(cluster.addresses) - 1
        what = f"this one writes the result, {others} more help" if workers.is_chief else "the chief writes the result"
        on_start(f"machines: {cluster.name(cluster.index)} of {others + 1}: {what}")
        yield workers
        if not workers.is_chief:
            say(f"waiting until {cluster.name(0)} has written the result")


def _start(cluster: Cluster) -> Any:
    """Return the strategy of TensorFlow for several machines, whose server listens at the address of this one."""
    import signal

    # What it logs on machines that are gone is told in a sentence.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow(start=False)
    import tensorflow as tf
    from tensorflow.python.eager import context

    settings = tf.compat.v1.ConfigProto().experimental.coordination_config
    settings.coordinated_job_list.add(name="worker", num_tasks=len(cluster.addresses))
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        coordinated_jobs=list(settings.coordinated_job_list),
        heartbeat_timeout_in_ms=_HEARTBEAT_SECONDS * 1000,
        shutdown_barrier_timeout_in_ms=10_000,
    )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}), task_type="worker", task_id=cluster.index
    )
    given_up = threading.Timer(_START_SECONDS, _give_up, [cluster])
    given_up.daemon = True
    given_up.start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        raise HybridSegError(
            f"TensorFlow could not start on {cluster.name(cluster.index)}: {str(error).splitlines()[0]}; look at what "
            "the other machines say, and start the command on all again"
        ) from error
    finally:
        given_up.cancel()
        if threading.current_thread() is threading.main_thread():
            # TensorFlow takes the signal for itself, and nothing would end the process but a kill.
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _give_up(cluster: Cluster) -> None:
    text = f"Error: TensorFlow of {cluster.name(cluster.index)} waits for the others in vain; start them all again\n"
    os.write(2, text.encode())
    os._exit(1)


ALONE = Team()
