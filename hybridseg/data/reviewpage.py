"""What a review shows: one page with the faults, the classes and the photos, and figures of photos with their masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridseg.classes import ClassTable, color_labels, labels_to_seeds
from hybridseg.data.faults import ASIDE, TEST, TRAIN, VALID, Evidence, Fault
from hybridseg.data.reviewtables import CLASSES_NAME, LABELS_NAME
from hybridseg.data.survey import MaskFacts
from hybridseg.io.images import read_rgb8
from hybridseg.io.labels.formats import read_labelmap
from hybridseg.io.labels.labelpng import encode_overlay
from hybridseg.markup import count_of
from hybridseg.models.cards import list_versions
from hybridseg.page import Bars, Picture, Section, Strip, Table, embed_picture, write_page
from hybridseg.palette import ramp_colors
from hybridseg.panels import PAGE_WIDTH, PictureRow, list_legend, tint_image
from hybridseg.progress import Progress, no_progress
from hybridseg.resample import reduce_shape, resize_nearest, shrink_image
from hybridseg.sheets import draw_picture_rows

_SETS = {TRAIN: "for training", VALID: "for validation", TEST: "for testing", ASIDE: "without a mask"}
_N_LISTED, _N_SHOWN, _N_GALLERY = 12, 8, 48
# As the published program shrinks them; no further than that something can be seen.
_SCALE, _LEAST_SIDE = 0.1, 300
# What is seen better without the mask.
_BARE = (
    "blurred", "dark", "over-exposed", "empty", "of one colour", "unlike the others", "no picture", "kinds",
    "transparency",
)  # fmt: skip


def write_review_page(
    path: Path, verdict: str, source: str, known: Evidence, faults: Sequence[Fault], notes: Sequence[str]
) -> None:
    """Write the page, whole or not at all; `source` says where the photos and masks are."""
    sets = Counter(known.sets.values())
    counts = ", ".join(f"{sets[name]:,} {words}" for name, words in _SETS.items() if sets[name])
    lead = [_capitalize(f"{verdict}."), f"{source} {count_of(len(known.sets), 'photo')} could be read: {counts}."]
    if known.names.missing:
        lead.append(f"{CLASSES_NAME}, beside {LABELS_NAME}, is a class list with placeholders for the missing names.")
    sections = [
        *tell_faults(known, faults, notes),
        _tell_classes(known),
        _tell_photos(known),
        _show_gallery(known, faults),
        Section("Versions", "", tables=[Table(("program", "version"), list(list_versions().items()))]),
    ]
    write_page(path, "Review of photos and masks", "\n\n".join(lead), sections)


def tell_faults(known: Evidence, faults: Sequence[Fault], notes: Sequence[str] = ()) -> list[Section]:
    """Return a section that lists the faults, and one for each of them with its files and pictures."""
    rows = [(_capitalize(fault.title), _capitalize(fault.mend)) for fault in faults]
    rows += [(_capitalize(note), "") for note in notes]
    n_breaks = sum(fault.breaks for fault in faults)
    table = Table(("what", "how to fix it"), rows, range(n_breaks), of_sentences=True)
    text = "What would stop a training is in bold; the worst comes first." if n_breaks else "The worst comes first."
    return [
        Section("What to fix", text if rows else "No fault was found.", tables=[table] if rows else ()),
        *(_tell_fault(known, fault) for fault in faults),
    ]


def _capitalize(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _tell_fault(known: Evidence, fault: Fault) -> Section:
    listed = [(problem.where, _capitalize(problem.message)) for problem in fault.problems[:_N_LISTED]]
    n_more = len(fault.problems) - len(listed)
    more = f"\n\nThe table has the first {len(listed)}, and df_data.csv all of them." if n_more > 0 else ""
    effect = "Training would fail. " if fault.breaks else ""
    pictures = [
        _show_photo(known, path, "" if fault.kind in _BARE else "mask") for path in fault.photos[:_N_SHOWN]
        if path in known.survey.photos
    ]  # fmt: skip
    return Section(
        _capitalize(fault.title),
        f"{effect}{_capitalize(fault.mend)}.{more}",
        tables=[Table(("file", "what is wrong"), listed, of_sentences=True)] if listed else (),
        strips=[Strip("", "", pictures)] if pictures else (),
    )


def _show_photo(known: Evidence, path: Path, kind: str = "mask", remark: str = "") -> Picture:
    """Return a small photo, with its mask laid over it where it has one."""
    facts, mask = known.survey.photos[path], known.mask_of.get(path)
    overlay = embed_picture(_draw_overlay(known, mask), ".png") if kind and mask and mask.ids else ""
    caption = f"{path.name} ({_SETS.get(known.sets.get(path, ''), 'not used')}{remark})"
    return Picture(embed_picture(facts.picture, ".jpg"), caption, overlay)


def _draw_overlay(known: Evidence, mask: MaskFacts) -> bytes:
    table = mask.names or known.names.table
    assert table is not None and known.names.table is not None
    return encode_overlay(labels_to_seeds(mask.small), table.with_colors_of(known.names.table))


def _tell_classes(known: Evidence) -> Section:
    used = known.names.used
    if used is None:
        return Section("The classes", "No mask has a class.")
    by_set = {name: Counter[str]() for name in ("all masks", *_SETS, "")}
    shown: Counter[str] = Counter()
    for pair in known.pairs:
        counts = known.names.counts[pair.labels_path]
        for name in ("all masks", known.sets.get(pair.image_path, "")):
            by_set[name].update(counts)
        shown.update(counts.keys())
    columns = {name: counts for name, counts in by_set.items() if name and counts}
    bars = [
        (name, color, [counts[name] / max(counts.total(), 1) for counts in columns.values()])
        for name, color in zip(used.names, used.colors, strict=True)
    ]
    total = by_set["all masks"]
    rows = [
        (name, str(known.names.table.index(name)) if known.names.table else "", f"{total[name]:,}", f"{shown[name]:,}")
        for name in used
    ]
    heads = ("share of the pixels with a class", *(_SETS.get(name, "in all masks") for name in columns))
    return Section(
        "The classes",
        "How much of the masks each class covers, in all of them and in each set. A class that covers little, or is in "
        "few photos, is learnt the worst.",
        bars=Bars(heads, bars),
        tables=[Table(("class", "id", "pixels", "photos"), rows)],
    )


def _tell_photos(known: Evidence) -> Section:
    """Report how many photos there are of each kind, and which values their bands take."""
    photos = known.survey.photos
    sets = Counter(known.sets.values())
    counts = [(words, f"{sets[name]:,}") for name, words in _SETS.items() if sets[name]]
    kinds = Counter((f.info.rows, f.info.cols, f.info.bands, f.info.dtype) for f in photos.values())
    rows = [(f"{r} x {c}", str(b), kind, f"{n:,}") for (r, c, b, kind), n in kinds.most_common(_N_LISTED)]
    bands = []
    with_values = [facts for facts in photos.values() if facts.mean]
    for band in range(max((len(facts.mean) for facts in with_values), default=0)):
        own = [facts for facts in with_values if len(facts.mean) > band]
        low, high = min(facts.low[band] for facts in own), max(facts.high[band] for facts in own)
        mean = sum(facts.mean[band] for facts in own) / len(own)
        bands.append((str(band + 1), f"{low:.6g}", f"{high:.6g}", f"{mean:.6g}"))
    more = f" The commonest {_N_LISTED} of {len(kinds)} sizes are listed." if len(kinds) > _N_LISTED else ""
    return Section(
        "The photos",
        f"Each is described in df_data.csv.{more}",
        tables=[
            Table(("set", "photos"), counts),
            Table(("rows x columns", "bands", "type", "photos"), rows),
            Table(("band", "lowest", "highest", "mean"), bands),
        ],
    )


def _show_gallery(known: Evidence, faults: Sequence[Fault]) -> Section:
    n_faults = Counter(path for fault in faults for path in fault.photos)
    paths = sorted(known.survey.photos, key=lambda path: -n_faults[path])[:_N_GALLERY]
    n = len(known.survey.photos)
    which = f"The first {len(paths)} of {n} photos" if len(paths) < n else f"All {n} photos"
    table = known.names.used
    return Section(
        "Photos with their masks",
        f"{which}, those with the most faults first. The pointer on a photo takes its mask away.",
        strips=[Strip("", "", [_show_photo(known, path) for path in paths])],
        legend=tuple(zip(table.names, table.colors, strict=True)) if table else (),
    )


# As the published program calls them.
_LOOKS = ("image_pair_gray", "image_pair_jet", "sample")


@dataclass(frozen=True)
class ReviewFigures:
    """How many photos the figures show, and how much they are reduced; None: as they can be told apart."""

    folder: Path
    n: int
    scale: float | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(self.folder / f"{name}.png" for name in _LOOKS)


def draw_pairs(known: Evidence, options: ReviewFigures, *, progress: Progress = no_progress) -> list[Path]:
    """Draw photos beside their masks in greys and in jet colours, and under the colours of the classes.

    Returns
    -------
    list of pathlib.Path
        ``image_pair_gray.png``, ``image_pair_jet.png`` and ``sample.png``; none where there is nothing to draw.
    """
    table = known.names.table
    fitting = [
        pair
        for pair in known.pairs
        for mask in [known.survey.masks[pair.labels_path]]
        if mask.ids and mask.shape == known.survey.photos[pair.image_path].info.shape
    ]
    if not (fitting and options.n and table):
        return []
    # Evenly spread over all of them.
    n = min(options.n, len(fitting))
    chosen = [fitting[i * len(fitting) // n] for i in range(n)]
    grey, jet = (ClassTable(table.names, tuple(ramp_colors(len(table), jet=jet))) for jet in (False, True))
    looks: dict[str, list[PictureRow]] = {name: [] for name in _LOOKS}
    maps = []
    for pair in progress(chosen, label="drawing"):
        # One at a time: a photo may take much memory before it is reduced.
        image = read_rgb8(pair.image_path)
        shape = reduce_shape(image.shape[:2], options.scale or _choose_scale(max(image.shape[:2])))
        image = shrink_image(image, *shape)
        own = known.survey.masks[pair.labels_path].names
        labels = read_labelmap(pair.labels_path, table=own or table, with_seeds=False).labels_as(table)
        labels = resize_nearest(labels, shape)
        maps.append(labels)
        seconds = [color_labels(labels, grey), color_labels(labels, jet), tint_image(image, labels, table)]
        for rows, second in zip(looks.values(), seconds, strict=True):
            rows.append(PictureRow(pair.image_path.name, [image, second], () if rows else ("photo", "mask")))
    for path, rows, colors in zip(options.paths, looks.values(), (grey, jet, table), strict=True):
        draw_picture_rows(path, rows, width=PAGE_WIDTH, legend=list_legend(colors, *maps))
    return list(options.paths)


def _choose_scale(side: int) -> float:
    return min(1.0, max(_SCALE, _LEAST_SIDE / side))
