"""The breaks that `mutate.py` makes: the file, what is there, what it becomes, and the tests that should notice.

The texts are code, never words of a message; each one occurs once in its file. What speaks for itself has no comment.
"""

# fmt: off
BREAKS = {
    "classes": [
        ("classes.py", ".casefold()", "", "test_classes.py"),
        ("classes.py", "if key not in mine]", "]", "test_classes.py"),
        ("classes.py", "lut = np.full(256, VOID, np.uint8)", "lut = np.zeros(256, np.uint8)", "test_classes.py"),
        (
            "classes.py",
            "(value >> 16, value >> 8 & 255, value & 255)",
            "(value & 255, value >> 8 & 255, value >> 16)",
            "test_classes.py",
        ),
    ],
    "options": [
        ("options.py", "value > self.low if self.above", "value >= self.low if self.above", "crf/test_options.py"),
        ("options.py", " and math.isfinite(value)", "", "crf/test_options.py"),
        ("options.py", "value is None or value in setting.extra", "value is None", "cli hybrid"),
    ],
    "errors": [
        ("errors.py", '.removeprefix(f"{path}: ")', "", "hybrid/test_retile.py io"),
    ],
    "confusion": [
        ("confusion.py", "square[:-1, -1].copy()", "square[-1, :-1].copy()", "test_confusion.py"),
        ("confusion.py", "truth + predicted - hits", "truth + predicted", "test_confusion.py"),
        ("confusion.py", "if b and n else None", "if b else None", "test_confusion.py"),
        (
            "confusion.py",
            "counts[np.ix_(ids, ids)] += confusion.counts",
            "counts[: len(ids), : len(ids)] += confusion.counts",
            "test_confusion.py",
        ),
    ],
    "resample": [
        ("resample.py", "(np.arange(new) + 0.5) * (old / new)", "np.arange(new) * (old / new)", "hybrid io labelling"),
        (
            "resample.py",
            "centres - first).astype",
            "first - first).astype",
            "models/test_mobilenet.py hybrid/test_votes.py",
        ),
        ("resample.py", "distance_transform_edt(~known", "distance_transform_edt(known", "hybrid/test_segmentation.py"),
    ],
    "draw": [
        ("draw.py", "int(n * share + 0.5)", "int(n * share)", "test_draw.py"),
        ("draw.py", 'f"{seed}:{name}"', 'f"{name}"', "test_draw.py"),
        ("draw.py", 'unicodedata.normalize("NFC", name)', "name", "test_draw.py"),
    ],
    "majority": [
        ("majority.py", "| ((count == best_count) & (own == class_id))", "", "test_majority.py"),
        ("majority.py", "where=own == VOID", "where=own == 0", "test_majority.py"),
        (
            "majority.py",
            "count += pieces[radius + distance :",
            "count += pieces[radius - distance :",
            "test_majority.py",
        ),
    ],
    "figures": [
        # The calibration figure without its curve.
        ("figures.py", "axes.plot(confidence, accuracy,", "axes.plot([], [],", "test_figures.py"),
        ("figures.py", "confusion.support + confusion.counts.sum(axis=0)", "confusion.support", "test_figures.py"),
    ],
    "io": [
        (
            "io/atomic.py",
            "temporary.unlink(missing_ok=True)\n    except HybridSegError",
            "pass\n    except HybridSegError",
            "io/test_atomic.py",
        ),
        (
            "io/atomic.py",
            "fcntl.LOCK_EX | fcntl.LOCK_NB",
            "fcntl.LOCK_SH | fcntl.LOCK_NB",
            "io/test_atomic.py data hybrid/test_retile.py",
        ),
        ("io/atomic.py", "os.fsync(descriptor)", "pass", "io/test_atomic.py"),
    ],
    "crf": [
        ("crf/priors.py", "table[0] = 1 / n_labels", "table[0] = 1", "crf/test_priors.py"),
        ("crf/priors.py", "multiplicity[0] = n_labels - len(seeded)", "multiplicity[0] = 1", "crf/test_priors.py"),
        ("crf/priors.py", "(1 - gt_prob) / (n_labels - 1)", "(1 - gt_prob) / n_labels", "crf/test_priors.py"),
        ("crf/blocks.py", "max(self.top - self.halo, 0)", "self.top", "crf/test_blocks.py crf/test_refine.py"),
        ("crf/guard.py", "if kept < _KEPT_SHARE", "if kept > _KEPT_SHARE", "crf/test_guard.py"),
        ("crf/refine.py", "origin = (rows.start, cols.start)", "origin = (0, 0)", "crf/test_refine.py"),
        ("crf/refine.py", "/ np.float32(257)", "/ np.float32(256)", "crf/test_engines.py"),
        ("crf/refine.py", "spread / spread.sum(axis=2, keepdims=True)", "spread", "crf/test_refine.py"),
        (
            "crf/options.py",
            "self.theta if self.space_theta is None else self.space_theta",
            "self.theta",
            "crf/test_engines.py crf/test_options.py",
        ),
    ],
    "data": [
        ("data/splitplan.py", "counts[group].update(_count_classes(", "(_count_classes(", "data/test_split.py"),
        ("data/splitplan.py", "< abs(n_images - wanted)", "<= abs(n_images - wanted)", "data/test_split.py"),
        (
            "data/split.py",
            "temporary.symlink_to(source.resolve())",
            "temporary.symlink_to(os.readlink(source))",
            "data/test_split.py",
        ),
        ("data/split.py", "if entries != earlier:", "if True:", "data/test_split.py"),
    ],
}
