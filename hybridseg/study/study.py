"""A study: photos and masks go in; models, label maps of all photos, scores and a report in words come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.forecast import UNKNOWN, Weighted, followed_by
from hybridseg.io.atomic import claim_folder, write_text
from hybridseg.io.labels.classfiles import read_class_files, write_class_files
from hybridseg.io.locks import lock_output
from hybridseg.io.masks import find_split_masks
from hybridseg.io.textfiles import MAX_TEXT_BYTES, read_whole
from hybridseg.markup import count_of, render_text, spell_command
from hybridseg.page import Section
from hybridseg.progress import Progress, describe_seconds, no_progress
from hybridseg.study.findings import Findings, read_findings
from hybridseg.study.inputs import CLASSES_NAME, LOG_NAME, TEST_NAME, Inputs, StudyOptions, StudyPaths, check_inputs
from hybridseg.study.report import write_report
from hybridseg.study.steps import Step, StepLog, plan_steps
from hybridseg.study.story import Story
from hybridseg.verdict import NextSteps, Verdict


@dataclass(frozen=True)
class StudyResult:
    """The steps, and what they led to; None when everything was only checked."""

    steps: tuple[Step, ...]
    findings: Findings | None = None
    report_path: Path | None = None

    def __repr__(self) -> str:
        return f"<StudyResult: {self._describe()}>" + (f"\n{self.verdict.text}" if self.verdict else "")

    def _describe(self) -> str:
        return (
            f"{count_of(len(self.steps), 'step')}, only checked" if self.report_path is None else str(self.report_path)
        )

    def _repr_html_(self) -> str:
        return render_text(self._describe(), self.verdict and self.verdict.text)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the best method; None when nothing was measured."""
        return self.findings.best.verdict if self.findings else None


@dataclass(frozen=True)
class Supplement:
    """More than a study does: a note for the lead of its report, steps after its own, and a section on them.

    `next_step` is what to do next, in place of what follows from the scores.
    """

    note: str
    next_step: str
    plan: Callable[[StudyPaths], Sequence[Step]]
    tell: Callable[[StudyPaths, Findings, ClassTable], Section]


def run_study(
    paths: StudyPaths,
    *,
    run_command: Callable[[list[str]], object],
    say: Callable[[str], None],
    warn: Callable[[str], None],
    options: StudyOptions = StudyOptions(),
    table: ClassTable | None = None,
    check_only: bool = False,
    supplement: Supplement | None = None,
    n_jobs: int = 1,
    progress: Progress = no_progress,
) -> StudyResult:
    """Check everything, then run the steps that are not done yet, and write the report.

    Parameters
    ----------
    run_command, say
        As for `Story`; `warn` prints what a person should look at.
    table : ClassTable or None
        The classes of masks that do not name theirs. They are written where `paths` has them, if that is
        ``labeldefs.txt`` in the folder of the results.
    n_jobs : int
        Processes that check the photos and masks.

    Raises
    ------
    HybridSegError
        Before anything is written, when something would stop the work.
    """
    paths = replace(paths, masks_dir=paths.masks_dir or find_split_masks(paths.images_dir))
    inputs = check_inputs(paths, options, table=table, n_jobs=n_jobs, progress=followed_by(progress, UNKNOWN))
    steps = [*plan_steps(paths, options, inputs), *(supplement.plan(paths) if supplement else ())]
    _tell_plan(inputs, steps, say, warn)
    if check_only:
        for step in steps:
            say(spell_command(step.words))
        return StudyResult(tuple(steps))
    claim_folder(paths.out)
    with lock_output(paths.out / LOG_NAME):
        if table is not None and paths.labels_path == paths.out / CLASSES_NAME:
            _write_classes(paths.labels_path, table)
        test_list = _write_list(paths, inputs) or options.test_list
        lists = [path for path in (paths.labels_path, paths.colors_path, test_list) if isinstance(path, Path)]
        log = StepLog(paths.out, steps, [*inputs.files, *lists], draw=options.draw)
        _run_steps(Story(paths.out, run_command, say), steps, log, progress)
        findings = read_findings(paths, options, inputs)
        if supplement:
            findings = replace(findings, next_steps=NextSteps(*[supplement.next_step] * 4))
        more = [supplement.tell(paths, findings, inputs.table)] if supplement else []
        report_path = write_report(
            paths, inputs, steps, findings, note=supplement.note if supplement else "", more=more
        )
    return StudyResult(tuple(steps), findings, report_path)


def _tell_plan(inputs: Inputs, steps: list[Step], say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    sets = inputs.sets
    say(
        f"checked {count_of(sum(sets.values()), 'photo')} ({inputs.megapixels:.1f} megapixels): {sets['train']} for "
        f"training, {sets['test']} for testing, {sets['unlabelled']} without a mask"
    )
    say("classes: " + ", ".join(f"{name} {share:.1%}" for name, share in inputs.shares.items()))
    for line in filter(None, (*inputs.alone, inputs.kept)):
        say(line)
    for line in filter(None, (*map(str, inputs.faults), *inputs.warnings, inputs.likeness)):
        warn(line)
    total = describe_seconds(sum(step.seconds for step in steps))
    say(
        f"{count_of(len(steps), 'step')}, about {total} on two cores without a GPU; after Ctrl-C the same command goes "
        "on"
    )


def _write_classes(path: Path, table: ClassTable) -> None:
    """Write the classes that were given as names: the commands read them from a file, of which the time counts."""
    if not path.exists() or read_class_files(path) != table:
        write_class_files(table, labeldefs_path=path)


def _write_list(paths: StudyPaths, inputs: Inputs) -> Path | None:
    """Write the list of the photos for testing where it is not drawn, and return its path; one that is right stays."""
    path, text = paths.out / TEST_NAME, "".join(f"{name}\n" for name in inputs.test_names)
    if not text:
        path.unlink(missing_ok=True)
        return None
    content = text.encode("utf-8", "surrogateescape")
    if not path.exists() or read_whole(path, most=MAX_TEXT_BYTES, remedy="give another --out") != content:
        write_text(path, text)
    return path


def _run_steps(story: Story, steps: list[Step], log: StepLog, progress: Progress) -> None:
    """Run what is not done."""
    todo = [step for step in steps if not log.is_done(step)]
    if len(todo) < len(steps):
        n_done = len(steps) - len(todo)
        story.say(f"{n_done} of {len(steps)} steps were done before, with the same photos and settings")
    expected = Weighted(todo, [step.seconds for step in todo])
    for i, step in enumerate(progress(expected, label="steps"), 1):
        story.say(f"\n== step {i} of {len(todo)}: {step.title} ==")
        goes_on = log.begin(step)
        story.run(*step.words, *(step.resuming if goes_on else ()))
        log.finish(step)
