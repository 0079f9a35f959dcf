"""Commands about the installation: ``doctor``."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from hybridseg.cli.console import Console, pass_console

_MARKS = {"ok": "ok  ", "warning": "!   ", "missing": "MISS"}


@click.command()
@pass_console
def doctor(console: Console) -> None:
    """Check what works on this machine, and how to fix what does not.

    Result: one line for each part. The exit code is 1 when the main job (from photos to label maps) could not
    run.

    \b
    Example:
      hybridseg doctor
    """
    from hybridseg.doctor import examine_system, is_fit

    checks = examine_system()
    fit = is_fit(checks)
    console.record(fit=fit, checks=[asdict(check) for check in checks])
    width = max(len(check.name) for check in checks)
    for check in checks:
        console.say(f"{_MARKS[check.status]}  {check.name.ljust(width)}  {check.detail}")
        if check.mend:
            console.say(f"      {' ' * width}  -> {check.mend}")
    console.say("\nThe main job can run." if fit else "\nThe main job cannot run: fix what is marked MISS.")
    sys.exit(0 if fit else 1)
