"""Commands for a whole survey: ``segment``, any model on any number of images, and ``status``, how far that is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from hybridseg.batch.cluster import Cluster, open_cluster
from hybridseg.batch.jobs import Job
from hybridseg.batch.manifest import Manifest
from hybridseg.batch.plan import (
    Plan,
    check_copies,
    check_disk,
    count_copied,
    count_kept,
    count_replaced,
    divide_tasks,
    list_tasks,
    make_plan,
    measure_free,
    sort_out,
)
from hybridseg.batch.results import count_empty
from hybridseg.batch.status import RunStatus, read_status
from hybridseg.batch.workers import Mapper, Processes
from hybridseg.cli.console import Console, pass_console
from hybridseg.cli.methods import GroupedCommand, method_options, read_job, survey_options
from hybridseg.cli.options import is_given, models_option, path_type, sources_argument
from hybridseg.cli.segment import run_job
from hybridseg.dense.predict import PredictJob
from hybridseg.errors import Problem, WriteFailed
from hybridseg.io.atomic import check_folder
from hybridseg.io.pairing import find_images
from hybridseg.io.sources import is_remote
from hybridseg.machine import count_memory
from hybridseg.markup import count_of, describe_bytes
from hybridseg.progress import describe_seconds

GPU = "GPU"
"""What workers of Dask say that they have, with which networks run fast."""
ENGINES = SERIAL, PROCESSES, DASK = "serial", "processes", "dask"


@click.command(cls=GroupedCommand)
@sources_argument
@models_option
@click.option("--out", "out_dir", metavar="DIR", type=path_type, required=True, help="Folder of the results.")
@click.option(
    "--engine", "run_engine", type=click.Choice(ENGINES), default=PROCESSES, show_default=True,
    help="What does the work: this process, several processes, or a Dask cluster.",
)  # fmt: skip
@survey_options
@click.option("--scheduler", metavar="ADDRESS", help="Join the running Dask cluster at tcp://HOST:PORT.")
@click.option(
    "--scheduler-file", metavar="FILE", type=path_type, help="Join the running Dask cluster that this file names."
)
@click.option(
    "--send-model", is_flag=True,
    help="Send the model to the workers of the cluster, which have no disk with it; they keep it in their cache.",
)  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Try images again that failed before.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and what it takes.")
@click.option("--resume", is_flag=True, hidden=True, expose_value=False, help="Go on, as this command always does.")
@method_options
@pass_console
def segment(console: Console, **settings: Any) -> None:
    """Label every pixel of any number of images with any model.

    SOURCES are files, folders, patterns, and text files (.txt) with a path on each line; images may also lie on the web
    or in an archive (https://..., s3://..., /vsizip/...), and mosaics (.vrt), JPEG 2000 (.jp2, .j2k), ERDAS Imagine
    (.img) and ENVI files may be named. gdal:NAME is opened by GDAL, by any of its drivers: give it only what you trust.
    Given again, the same command does only what is missing or has changed: images, model or settings. An image that
    cannot be used, or that ends the process that works on it, does not stop the others.

    Result: for each image what semseg writes (tile classifiers) or infer (dense networks), and DIR/manifest.jsonl, in
    which each image has a line: what it was made of, by what, in how many seconds and how much memory, or why it
    failed. status sums it up.

    \b
    Examples:
      hybridseg segment photos --model model.pb --out results
      hybridseg segment photos --model model.pb --out results --dry-run
    """
    _check_engine(settings)
    images = find_images(settings["sources"], remote=True)
    job = read_job(console, settings)
    manifest = Manifest.read(settings["out_dir"])
    if settings["dry_run"]:
        _rehearse(console, images, job, manifest, settings)
        return
    with manifest.writing(), _open_engine(console, settings, job) as (mapper, engine):
        if isinstance(mapper, Cluster):
            images = [image if is_remote(image) else image.absolute() for image in images]
            job = job.with_absolute_paths()
        plan, _ = _plan(images, job, manifest, settings, n_workers=mapper.n_workers if mapper else 1)
        for folder, check in _list_checks(settings):
            check(folder, plan)
        _warn_of_room(console, plan, settings)
        if plan.n_replaced:
            console.say(f"{_tell_replaced(plan)}; give another --out to keep them")
        refused = {images[i]: problem for i, problem in list_tasks(images, job, manifest)[1].items()}
        if isinstance(mapper, Cluster):
            job = replace(job, memory=replace(job.memory, n_processes=mapper.n_per_machine))
        if settings["send_model"] and isinstance(mapper, Cluster):
            job = replace(job, sent=mapper.send_models(job.model_paths))
        # Results may come from either: it is told, and no reason to make them again.
        shown = {**job.describe(), "model_engine": job.engine}
        manifest.begin(images, job=job.fingerprint(), settings=shown, engine=engine, refused=refused)
        run_job(
            console, images, job, resume=False, mapper=mapper, manifest=manifest, retry_failed=settings["retry_failed"]
        )


def _rehearse(console: Console, images: list[Path], job: Job, manifest: Manifest, settings: dict[str, Any]) -> None:
    """Say what would be done, and what would be in the way of it."""
    n_workers, out_dir = settings["n_jobs"], settings["out_dir"]
    if _is_joined(settings):
        with _open_engine(console, settings, job) as (mapper, _):
            n_workers = mapper.n_workers if mapper else 1
    plan, problems = _plan(images, job, manifest, settings, n_workers=n_workers)
    _say_plan(console, plan, out_dir, n_workers=n_workers, is_joined=_is_joined(settings))
    for folder, check in [(out_dir, lambda folder, _: check_folder(folder)), *_list_checks(settings)]:
        try:
            check(folder, plan)
        except WriteFailed as error:
            problems.append(Problem.of(folder, error))
    console.finish(problems, lead="segment would refuse:")


def _is_joined(settings: dict[str, Any]) -> bool:
    """Return whether the workers are those of a cluster that runs already: they have disks of their own."""
    return bool(settings["scheduler"] or settings["scheduler_file"])


def _list_checks(settings: dict[str, Any]) -> list[tuple[Path, Callable[[Path, Plan], None]]]:
    """Return the disks of this machine that must have room for the work, and what checks that."""
    results = settings["out_dir"], check_disk
    return [results] if _is_joined(settings) else [results, (Path(tempfile.gettempdir()), check_copies)]


def _warn_of_room(console: Console, plan: Plan, settings: dict[str, Any]) -> None:
    """Say where room may be short; what is only estimated stops nobody."""
    out_dir, temporary = settings["out_dir"], Path(tempfile.gettempdir())
    if (n_bytes := plan.n_bytes + plan.kept_bytes) > (free := measure_free(out_dir)):
        console.warn(
            f"{out_dir} has {describe_bytes(free)} free, and the results may need {describe_bytes(n_bytes)}, by the "
            "sizes of the images"
        )
    if not _is_joined(settings) and plan.copied_bytes > (free := measure_free(temporary)):
        console.warn(
            f"{temporary} has {describe_bytes(free)} free, and temporary copies of images may need up to "
            f"{describe_bytes(plan.copied_bytes)}, by the sizes of the images"
        )


def _check_engine(settings: dict[str, Any]) -> None:
    joined = [name for name in ("scheduler", "scheduler_file") if settings[name]]
    if len(joined) > 1:
        raise click.UsageError("--scheduler and --scheduler-file both name a cluster; leave one out.")
    if joined:
        if is_given("run_engine") and settings["run_engine"] != DASK:
            raise click.UsageError(f"--{joined[0].replace('_', '-')} joins a Dask cluster; leave --engine out.")
        if is_given("n_jobs"):
            raise click.UsageError("a running cluster has its own workers; leave --jobs out.")
        settings["run_engine"] = DASK
    if settings["send_model"]:
        if settings["run_engine"] != DASK:
            raise click.UsageError("--send-model is for workers on other machines: give --scheduler too.")
        if settings["labels_path"]:
            raise click.UsageError(
                "--send-model sends what lies beside the model: leave --labels out, and put the classes beside it as "
                "labels.txt."
            )
    if settings["run_engine"] == SERIAL:
        if is_given("n_jobs") and settings["n_jobs"] != 1:
            raise click.UsageError("--engine serial is one process; leave --jobs out.")
        settings["n_jobs"] = 1


@contextmanager
def _open_engine(console: Console, settings: dict[str, Any], job: Job) -> Iterator[tuple[Mapper | None, str]]:
    """Yield what does the work, None for this process, and what it is called."""
    n_jobs = settings["n_jobs"]
    if settings["run_engine"] != DASK:
        name = f"{n_jobs} processes" if n_jobs > 1 else "this process"
        yield (Processes(n_jobs) if n_jobs > 1 else None), name
        return
    places = {name: settings[name] for name in ("scheduler", "scheduler_file")}
    with open_cluster(n_jobs=n_jobs, **places, resource=GPU if isinstance(job, PredictJob) else "") as cluster:
        n_gpus = cluster.n_with_resource if cluster.resource else 0
        only = f"; networks run on the {n_gpus} with {GPU}" if n_gpus else ""
        console.say(f"Dask: {count_of(cluster.n_workers, 'worker')}, dashboard {cluster.dashboard}{only}")
        yield cluster, f"{count_of(cluster.n_workers, 'worker')} of Dask"


def _plan(
    images: list[Path], job: Job, manifest: Manifest, settings: dict[str, Any], *, n_workers: int
) -> tuple[Plan, list[Problem]]:
    """Return what is to be done, and the images that cannot be."""
    tasks, problems = list_tasks(images, job, manifest)
    left, failed = sort_out(tasks, job, manifest, retry_failed=settings["retry_failed"])
    n_done = len(tasks) - len(left) - len(failed)
    paths, fingerprint = [path for _, path in left], job.fingerprint()
    plan = make_plan(paths, n_done, manifest, job=fingerprint, n_workers=n_workers, with_figures=settings["figures"])
    shared = divide_tasks(left, job, n_workers)[1]
    copied = count_copied(paths, 1 if _is_joined(settings) else n_workers)
    plan = replace(
        plan,
        n_shared=len(shared),
        n_replaced=count_replaced(paths, manifest, job=fingerprint),
        kept_bytes=count_kept(shared, job, n_workers),
        copied_bytes=copied[0],
        known_bytes=copied[1],
    )
    return plan, [*problems.values(), *failed.values()]


def _tell_replaced(plan: Plan) -> str:
    return f"the results of {count_of(plan.n_replaced, 'image')} will be replaced (another model or other settings)"


def _say_plan(console: Console, plan: Plan, out_dir: Path, *, n_workers: int, is_joined: bool) -> None:
    free = measure_free(out_dir)
    console.record(plan={**asdict(plan), "free_bytes": free})
    rough = "" if plan.is_measured else ", by the sizes of the images"
    memory = plan.process_mb if is_joined else plan.memory_mb
    total = 0 if is_joined else count_memory()
    rows = {
        "images": f"{plan.n_left:,} to do, {plan.n_done:,} done"
        + (f"; {_tell_replaced(plan)}" if plan.n_replaced else "")
        + (f"; all processes share the parts of {count_of(plan.n_shared, 'image')}" if plan.n_shared else ""),
        "megapixels": f"{plan.megapixels:,.1f}"
        + (
            f", estimated from {plan.n_asked} of the {plan.n_remote:,} images that lie elsewhere"
            if plan.n_asked < plan.n_remote
            else ""
        ),
        "processes": f"{n_workers:,}" + " workers of the cluster" * is_joined,
        "time": "known once an image is done; hybridseg estimate tries some first"
        if plan.seconds is None
        else f"about {describe_seconds(plan.seconds)}",
        "memory": f"up to about {memory / 1000:.1f} GB{' for each worker' * is_joined}{rough}"
        + (f"; this machine has {total / 1e9:.1f} GB" if total else ""),
        "disk": f"about {describe_bytes(plan.n_bytes)} of results in {out_dir}{rough}"
        + (f"; until a large image is done, {describe_bytes(plan.kept_bytes)} of parts" if plan.kept_bytes else "")
        + f"; {describe_bytes(free)} are free",
    }
    if plan.copied_bytes:
        temporary = Path(tempfile.gettempdir())
        where = "on the disk of each worker" if is_joined else f"in {temporary}"
        rows["copies"] = f"at most {describe_bytes(plan.copied_bytes)} at a time {where}" + (
            "" if is_joined else f", which has {describe_bytes(measure_free(temporary))} free"
        )
    console.say_all(f"{name:<11} {value}" for name, value in rows.items())
    if plan.n_unreadable:
        console.warn(f"{count_of(plan.n_unreadable, 'image')} cannot be read: {plan.unreadable}")


@click.command()
@click.argument("folder", metavar="DIR", type=path_type)
@pass_console
def status(console: Console, folder: Path) -> None:
    """Say how far a folder of results is.

    Of all images that segment was ever given for this folder: what is done, what failed and why, and what is left; of
    the last call its pace, and how long the rest will take.

    Result: nothing is written; DIR/manifest.jsonl is read, also while segment works there. That images failed does not
    change the exit code: a script reads the numbers with --json.

    \b
    Example:
      hybridseg status results
    """
    found = read_status(folder)
    console.record(status=asdict(found))
    _say_status(console, found)


def _say_status(console: Console, found: RunStatus) -> None:
    state = "is at work" if found.is_running else "was stopped; run it again to go on"
    if not found.is_running and not found.n_left_now:
        state = "has ended"
    left = f", about {describe_seconds(found.seconds_left)}" if found.seconds_left and found.is_running else ""
    if n_earlier := found.n_left - found.n_left_now:
        left += f"; {n_earlier:,} of them from earlier calls, which must be run again"
    done = f"{found.n_done:,}{count_empty(found.n_empty)}"
    rows = {"done": done, "failed": f"{len(found.failed):,}", "left": f"{found.n_left:,}{left}"}
    if found.images_per_minute:
        rows["a minute"] = f"{found.images_per_minute:.1f} images, {found.megapixels_per_minute:.1f} megapixels"
    console.say(f"{count_of(found.n_images, 'image')}; the last call, begun {found.begun}, {state}")
    console.say_all(f"  {name:<9} {value}" for name, value in rows.items())
    if found.failed:
        console.say("failed:")
        console.say_all(f"  {problem}" for problem in found.failed)
