"""Look over photos and masks before a training: what is there, what would stop it, and how to fix that."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hybridseg.classes import ClassTable
from hybridseg.data.faults import (
    ASIDE,
    TEST,
    TRAIN,
    VALID,
    Evidence,
    Fault,
    find_faults,
    group_copies,
    list_unusable,
    warn_of_classes,
)
from hybridseg.data.labelnames import name_labels
from hybridseg.data.likeness import judge_likeness
from hybridseg.data.reviewpage import ReviewFigures, draw_pairs, write_review_page
from hybridseg.data.reviewtables import LISTS, make_tables
from hybridseg.data.splitplan import SplitOptions, check_group_by, choose_others, choose_train_groups, group_images
from hybridseg.data.survey import survey_files
from hybridseg.errors import MissingInput, Problem
from hybridseg.io.atomic import back_up, claim_folder, replace_text
from hybridseg.io.journal import Journal
from hybridseg.io.labels.classfiles import read_class_files
from hybridseg.io.locks import lock_output
from hybridseg.io.marks import is_ours
from hybridseg.io.masks import Matches, find_labelled, find_masks
from hybridseg.io.pairing import list_images
from hybridseg.markup import count_of, render_table, render_text
from hybridseg.options import Span, check_options, option, option_like
from hybridseg.page import is_page_of_ours
from hybridseg.progress import Progress, no_progress

PAGE_NAME, LOG_NAME, CACHE_NAME = "review.html", "review.log", ".review"


@dataclass(frozen=True)
class ReviewOptions:
    """How the photos are divided into lists, and what is drawn."""

    split: float = option(
        0.75, "Share of the labelled photos that df_train.csv lists; df_valid.csv lists the others.", span=Span(0, 1)
    )
    seed: int = 0
    group_by: str | None = option_like(SplitOptions, "group_by")
    test: Path | tuple[str, ...] | None = option(
        None, "The photos for testing: a folder of them, or a text file with their names, one per line."
    )
    scale: float | None = option(
        None, "Reduction of the photos in the figures, which saves memory.", span=Span(0, 1, above=True)
    )
    plots: int = option(4, "Photos that the figures show; 0: no figures.", span=Span(0, 40))

    def __post_init__(self) -> None:
        check_options(self)
        check_group_by(self.group_by)


@dataclass(frozen=True)
class ReviewPlaces:
    """Where the data are, as the user typed it, and where what a review finds is written.

    Parameters
    ----------
    interim_dir, processed_dir : pathlib.Path
        Get ``df_data.csv``, and the other tables.
    report_dir : pathlib.Path
        Gets the page, the log and the figures.
    """

    images_dir: Path
    masks_dir: Path | None
    labels_path: Path | None
    test: Path | tuple[str, ...] | None
    interim_dir: Path
    processed_dir: Path
    report_dir: Path


@dataclass(frozen=True, eq=False)
class ReviewResult:
    """What was found, and the files that were written, the page first.

    Parameters
    ----------
    faults : tuple of Fault
        The worst first: those that would stop a training.
    notes : tuple of str
        What else should be known of the classes.
    problems : tuple of Problem
        What must be fixed, file by file.
    """

    places: ReviewPlaces
    known: Evidence = field(repr=False)
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    written: tuple[Path, ...] = ()

    @property
    def report_path(self) -> Path:
        """The page."""
        return self.places.report_dir / PAGE_NAME

    @property
    def breaks(self) -> list[Fault]:
        """The faults that would stop a training."""
        return [fault for fault in self.faults if fault.breaks]

    def count(self, set_name: str) -> int:
        """Count the photos of a set: ``train``, ``valid``, ``test`` or ``unlabelled``."""
        return sum(name == set_name for name in self.known.sets.values())

    def __repr__(self) -> str:
        return f"<ReviewResult: {self.describe()}>"

    def describe(self) -> str:
        """Say in a line whether a training would run."""
        if self.breaks:
            return f"training would fail: {count_of(len(self.problems), 'problem')} to fix"
        n = len(self.faults) + len(self.notes)
        look = f"; {count_of(n, 'thing')} to look at" if n else ""
        return f"nothing stands in the way of a training{look}"

    def _repr_html_(self) -> str:
        rows = [("stops a training" if fault.breaks else "look at", fault.title, fault.mend) for fault in self.faults]
        return render_text(f"{self.describe()[:1].upper()}{self.describe()[1:]}.", self.report_path) + (
            render_table(("", "what", "how to fix it"), rows) if rows else ""
        )


def place_review(
    folder: Path | None,
    *,
    images_dir: Path | None = None,
    masks_dir: Path | None = None,
    labels_path: Path | None = None,
    test: Path | tuple[str, ...] | None = None,
    out_dir: Path | None = None,
) -> ReviewPlaces:
    """Find the data, and where the results go: beside the photos, or where a project has its folders.

    A project is a `folder` with ``data/raw/train/images`` and ``data/raw/train/masks``; it may have
    ``data/raw/labels.txt`` and ``data/raw/test/images``, and gets ``data/interim``, ``data/processed`` and ``reports``.
    """
    images = images_dir or folder or Path()
    raw = images / "data" / "raw"
    if images_dir is None and (raw / "train" / "images").is_dir():
        listed, tested = raw / "labels.txt", raw / "test" / "images"
        own = [images / "data/interim", images / "data/processed", images / "reports"]
        return ReviewPlaces(
            raw / "train" / "images",
            masks_dir or raw / "train" / "masks",
            labels_path or (listed if listed.exists() else None),
            test or (tested if tested.is_dir() else None),
            *([out_dir] * 3 if out_dir else own),
        )
    home = images if images.name else images.resolve()
    out = out_dir or home.with_name(f"{home.name}_review")
    return ReviewPlaces(images, masks_dir, labels_path, test, out, out, out)


def review_data(
    places: ReviewPlaces,
    *,
    options: ReviewOptions = ReviewOptions(),
    table: ClassTable | None = None,
    n_jobs: int = 1,
    progress: Progress = no_progress,
) -> ReviewResult:
    """Read every photo and every mask, and write what was found: tables, a log, figures and one page.

    Parameters
    ----------
    table : ClassTable or None
        The classes of masks that do not name theirs; None: those of the list in `places`, if there is one.
    n_jobs : int
        Processes, each of which holds one image in memory.

    Raises
    ------
    MissingInput, BadInput
        When there are no photos or masks at all, or a list cannot be read.
    WriteFailed, OutputExists
        When the results cannot be written, or another review writes them now.
    """
    if table is None and places.labels_path is not None:
        table = read_class_files(places.labels_path)
    found, tested = find_pairs(places)
    for folder in (places.interim_dir, places.processed_dir, places.report_dir):
        claim_folder(folder)
    with lock_output(places.report_dir / PAGE_NAME), Journal(places.report_dir / LOG_NAME) as journal:
        masks = places.masks_dir or places.images_dir
        journal.note(f"photos from {places.images_dir}, masks from {masks}: {count_of(len(found.pairs), 'pair')}")
        for line in found.describe_rest():
            journal.note(line)
        cache_dir = places.report_dir / CACHE_NAME
        images = [pair.image_path for pair in found.pairs] + found.unlabelled
        survey = survey_files(
            images, [pair.labels_path for pair in found.pairs], table=table, cache_dir=cache_dir, n_jobs=n_jobs,
            progress=progress,
        )  # fmt: skip
        kept = f", {survey.n_kept} of them of a content that had been read before" if survey.n_kept else ""
        journal.note(f"checked {count_of(len(survey.photos), 'photo')} and {count_of(len(survey.masks), 'mask')}{kept}")
        known = Evidence(found, survey, name_labels(survey.masks, table), table)
        known = replace(known, sets=divide_photos(known, options, tested))
        result = judge_data(places, known, options)
        if missing := known.names.describe_missing():
            journal.note(missing, level="WARNING")
        for fault in result.faults:
            journal.note(str(fault), level="ERROR" if fault.breaks else "WARNING")
        written = []
        for path, text in make_tables(known, result.faults, places.interim_dir, places.processed_dir).items():
            backup = replace_text(path, text)
            journal.note(f"wrote {path}" + (f"; what it replaces is in {backup}" if backup else ""))
            written.append(path)
        looks = ReviewFigures(places.report_dir / "figures", options.plots, options.scale)
        for path in (*(looks.paths if options.plots else ()), result.report_path):
            # Those of another program, or of a person.
            if not is_ours(path) and not is_page_of_ours(path) and (backup := back_up(path)):
                journal.note(f"{path} is replaced; what it was is in {backup}")
        figures = draw_pairs(known, looks, progress=progress)
        source = f"Photos: {places.images_dir}; masks: {masks}."
        write_review_page(result.report_path, result.describe(), source, known, result.faults, result.notes)
        for path in (*figures, result.report_path):
            journal.note(f"wrote {path}")
        return replace(result, written=(result.report_path, *written, *figures, journal.path))


def find_pairs(places: ReviewPlaces) -> tuple[Matches, list[Path]]:
    """Find photos and masks; the photos for testing, if those have a folder of their own, are returned as well."""
    if not list_images(places.images_dir):
        raise MissingInput(f"{places.images_dir} has no JPEG, PNG or TIFF images; give the folder of your photos")
    found = find_labelled([places.images_dir], masks_dir=places.masks_dir)
    if not isinstance(places.test, Path) or not places.test.is_dir():
        if isinstance(places.test, Path) and not places.test.exists():
            raise MissingInput(f"there is no file or folder {places.test} (--test); give the photos for testing")
        return found, []
    images = list_images(places.test)
    if not images:
        raise MissingInput(f"{places.test} (--test) has no JPEG, PNG or TIFF images; give the photos for testing")
    beside = places.test.with_name("masks")
    tested = find_masks(images, beside if places.test.name == "images" and beside.is_dir() else None)
    both = Matches(
        found.pairs + tested.pairs,
        found.unlabelled + tested.unlabelled,
        found.orphans + tested.orphans,
        found.problems + tested.problems,
    )
    return both, images


def divide_photos(known: Evidence, options: ReviewOptions, tested: Sequence[Path]) -> dict[Path, str]:
    """Draw which labelled photos are for training and which for validation; those that are alike stay together."""
    paths = [pair.image_path for pair in known.found.pairs] + known.found.unlabelled
    names = {path.name: path for path in paths if path not in set(tested)}
    if options.test is not None and not (isinstance(options.test, Path) and options.test.is_dir()):
        others = choose_others(group_images(names, None), options.test)
        tested = [path for name, path in names.items() if not {name, path.stem} & others]
    sets = dict.fromkeys(tested, TEST)
    unusable = list_unusable(known)
    labelled = {
        pair.image_path.name: pair.image_path for pair in known.pairs if pair.image_path not in {*sets, *unusable}
    }
    groups = _join_groups(group_images(labelled, options.group_by), labelled, known) if labelled else {}
    sizes = {name: len(members) for name, members in groups.items()}
    chosen = choose_train_groups(sizes, SplitOptions(proportion=options.split, seed=options.seed))
    for group, members in groups.items():
        sets |= dict.fromkeys((labelled[name] for name in members), TRAIN if group in chosen else VALID)
    # A photo that cannot be used, or whose mask cannot, is in no set.
    sets = dict.fromkeys(known.found.unlabelled, ASIDE) | {
        path: name for path, name in sets.items() if path not in unusable
    }
    return {path: sets.get(path, "") for path in paths if path in known.survey.photos}


def _join_groups(
    groups: Mapping[str, Iterable[str]], labelled: Mapping[str, Path], known: Evidence
) -> dict[str, list[str]]:
    """Join the groups of photos that are copies of one another, or show nearly the same view."""
    copies, near = group_copies({path: known.survey.photos[path] for path in labelled.values()})
    home = {name: group for group, members in groups.items() for name in members}
    for first, second in [*near, *((group[0], other) for group in copies for other in group[1:])]:
        old, new = home[second.name], home[first.name]
        home |= {name: new for name, group in home.items() if group == old}
    joined: dict[str, list[str]] = {}
    for name, group in sorted(home.items()):
        joined.setdefault(group, []).append(name)
    return joined


def judge_data(places: ReviewPlaces, known: Evidence, options: ReviewOptions) -> ReviewResult:
    """List the faults, and what else should be known of the classes and of photos that are alike."""
    faults, notes = find_faults(known), []
    train, valid, test = map(known.list_looks, LISTS)
    in_set: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in known.pairs:
        in_set[known.sets[pair.image_path]].update(known.names.counts[pair.labels_path])
    if known.names.used and not known.names.missing:
        what = "testing" if in_set[TEST] else "validation"
        notes += warn_of_classes(known.names.used, in_set[TRAIN], in_set[TEST] or in_set[VALID], test_is=what)
    if not any(fault.kind == "leak" for fault in faults):
        is_grouped = bool(options.group_by or test)
        if lines := judge_likeness([*train, *valid] if test else train, test or valid, is_grouped=is_grouped):
            title, mend = (line if test else line.replace("for testing", "for validation") for line in lines)
            faults.append(Fault("likeness", False, title, mend))
    where = str(places.labels_path or places.images_dir)
    # What lacks then is one file, whatever the number of masks.
    lacks_list = "names" if known.given is None else ""
    problems = [
        problem
        for fault in faults
        if fault.breaks
        for problem in (() if fault.kind == lacks_list else fault.problems)
        or [Problem(where, f"{fault.title}; {fault.mend}")]
    ]
    return ReviewResult(places, known, tuple(faults), tuple(filter(None, notes)), tuple(problems))
