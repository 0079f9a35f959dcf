"""The examples of docs/clusters.md that need a cluster: their syntax, and every name and option in them."""

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest

from hybridseg.cli.main import find_commands, main

PAGE = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")
[SLURM], [KUBERNETES] = (re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL) for kind in ("python slurm", "yaml"))


def check_options(words):
    """Check that a command line of hybridseg or Dask has only options that there are."""
    program, name, *rest = words
    if program == "hybridseg":
        command = find_commands()[name]
    else:
        cli = pytest.importorskip(f"distributed.cli.dask_{name}")
        command = cli.main
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    given = {word for word in rest if word.startswith("--")}
    assert given and given <= known, given - known
    if program == "hybridseg":
        root = main.make_context("hybridseg", [name], resilient_parsing=True)
        command.make_context(name, [str(word) for word in rest], parent=root, resilient_parsing=True)


def test_commands():
    lines = [line.partition("#")[0] for line in PAGE.splitlines() if re.match(r"(dask|hybridseg) \w+ .*--", line)]
    assert len(lines) == 4
    for line in lines:
        check_options(shlex.split(line))


def test_kubernetes():
    yaml = pytest.importorskip("yaml")
    parts = list(yaml.safe_load_all(KUBERNETES))
    assert [part["kind"] for part in parts] == ["Service", "Deployment", "Deployment", "Job"]
    service, scheduler, workers, job = parts
    assert service["spec"]["selector"] == scheduler["spec"]["template"]["metadata"]["labels"]
    for part in parts[1:]:
        pod = part["spec"]["template"]["spec"]
        [container] = pod["containers"]
        check_options(list(map(str, container["command"])))
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert {mount["name"] for mount in container.get("volumeMounts", ())} == volumes
        if part["kind"] == "Deployment":
            assert part["spec"]["selector"]["matchLabels"] == part["spec"]["template"]["metadata"]["labels"]
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    for part in (workers, job):
        assert address in part["spec"]["template"]["spec"]["containers"][0]["command"]


def test_slurm():
    tree = ast.parse(SLURM)
    [call] = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SLURMCluster"
    ]
    given = {keyword.arg for keyword in call.keywords}
    extra = ast.literal_eval(next(keyword.value for keyword in call.keywords if keyword.arg == "worker_extra_args"))
    check_options(["dask", "worker", *extra])
    jobqueue = pytest.importorskip("dask_jobqueue")
    kinds = (jobqueue.core.JobQueueCluster, jobqueue.core.Job, jobqueue.slurm.SLURMJob)
    assert given <= {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}
