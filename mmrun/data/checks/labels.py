"""Finds labels that are probably wrong, by confident learning (Northcutt et al., 2021) with a quick model.

The model is a logistic regression on small features of the inputs: thumbnails, spectrograms, hashed words, cells. Each
row is judged by a model that was not fitted to it. Of a label set each label is judged on its own, against its absence.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmrun.data.checks.finding import Finding, locate_rows
from mmrun.data.split import has_target
from mmrun.data.table import CLASSES, Table, Target

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NUM_FOLDS = 5
MIN_CLASS_ROWS = 10  # of a class that is judged
MAX_CLASSES = 200  # of a target that is judged; more take long
MAX_LABELS = 40  # of label sets that are judged, the most frequent ones
MAX_JUDGED = 5_000  # rows, unless all are asked for
MIN_SKILL = 0.7  # of the model: 0 is always predicting the most frequent class, 1 is no error
MIN_MARGIN = 0.7  # by which the suggested class is more probable than the given one
INVERSE_REGULARISATION = 0.3
MAX_ITERATIONS = 100
TOLERANCE = 1e-3
NUM_WORDS = 1 << 14  # hashes of words and word pairs
MAX_COMPONENTS = 128  # of sparse features
LENGTH = 5.0  # of the features of one modality
MIN_DEVIATION = 1e-9


class Features(NamedTuple):
    """Features of the rows of a modality that were read.

    Attributes:
        rows: their numbers, ascending [n].
        select: computes the features of some of them, by places [m] -> [m, D], dense or sparse.
    """

    rows: np.ndarray
    select: "Callable[[np.ndarray], np.ndarray | csr_matrix]"


class Judgement(NamedTuple):
    """What a model says of labels that it was not fitted to.

    Attributes:
        suspects: places of labels that are probably wrong, the most suspicious first.
        margins: for each suspect, by how much the suggested class is more probable than the given one.
        suggested: class for each place [n].
        accuracy: of the model.
    """

    suspects: np.ndarray
    margins: np.ndarray
    suggested: np.ndarray
    accuracy: float


class Suspect(NamedTuple):
    """A label that is probably wrong.

    Attributes:
        row: its number.
        margin: by which the suggestion is more probable.
        reason: what is given, and what is more likely.
    """

    row: int
    margin: float
    reason: str


def find_unlikely_labels(
    table: Table, features: Mapping[str, Features], notes: list[str], max_rows: int | None = MAX_JUDGED
) -> list[Finding]:
    """Report the rows whose class, or one of whose labels, a quick model finds unlikely.

    Args:
        table: the data set.
        features: by modality; a row is judged if all modalities that it has were read.
        notes: how good the model is, or why labels are not judged, is added to them.
        max_rows: that are judged; None: all.
    """
    findings = []
    read = np.zeros(len(table.split), dtype=bool)
    complete = np.ones(len(table.split), dtype=bool)
    for name, column in table.columns.items():
        is_read = np.zeros(len(table.split), dtype=bool)
        if name in features:
            is_read[features[name].rows] = True
        read |= is_read
        complete &= is_read | ~column.is_present()
    rows = np.flatnonzero(read & complete)
    for name, target in table.targets.items():
        if target.task not in JUDGES:
            continue
        labelled = _draw(rows[has_target(target)[rows]], max_rows)
        suspects = JUDGES[target.task](target, name, labelled, features, notes)
        if suspects:
            findings.append(_report(table, name, suspects))
    return findings


def _report(table: Table, name: str, suspects: list[Suspect]) -> Finding:
    reasons: dict[int, list[str]] = {}  # by row, the most suspicious first
    for suspect in sorted(suspects, key=lambda suspect: -suspect.margin):
        reasons.setdefault(suspect.row, []).append(suspect.reason)
    rows = list(reasons)
    where = [f"{place}: {'; '.join(reasons[row])}" for place, row in zip(locate_rows(table, rows), rows, strict=True)]
    remedy = "look at them, most suspicious first; `mmrun data clean --drop labels`"
    return Finding("labels", f"{name}: labels that are unlikely", remedy, rows=rows, where=where)


def _draw(rows: np.ndarray, count: int | None) -> np.ndarray:
    """Return so many of the rows, ascending."""
    if count is None or len(rows) <= count:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, count, replace=False))


def _judge_classes(
    target: Target, name: str, rows: np.ndarray, features: Mapping[str, Features], notes: list[str]
) -> list[Suspect]:
    counts = np.bincount(target.values[rows], minlength=len(target.names))
    rows = rows[counts[target.values[rows]] >= MIN_CLASS_ROWS]
    num_classes = int((counts >= MIN_CLASS_ROWS).sum())
    if not 2 <= num_classes <= MAX_CLASSES:
        return []
    labels = target.values[rows]
    judgement = judge_labels(_build_matrix(features, rows), labels)
    quick = f"a quick model with {judgement.accuracy:.0%} accuracy on {len(rows):,} rows, by cross-validation"
    if not _is_skilled(judgement, labels):
        notes.append(f"{name}: labels are not judged: {quick}, knows too little")
        return []
    notes.append(f"{name}: labels are judged by {quick}")
    suspects = []
    for place, margin in zip(judgement.suspects.tolist(), judgement.margins.tolist(), strict=True):
        given_name, suggested_name = target.names[labels[place]], target.names[judgement.suggested[place]]
        suspects.append(Suspect(int(rows[place]), margin, f"'{given_name}', more likely '{suggested_name}'"))
    return suspects


def _judge_label_sets(
    target: Target, name: str, rows: np.ndarray, features: Mapping[str, Features], notes: list[str]
) -> list[Suspect]:
    given_labels = (target.values[rows] == 1).astype(np.int64)  # [n, C]
    counts = given_labels.sum(axis=0)
    common = np.flatnonzero(np.minimum(counts, len(rows) - counts) >= MIN_CLASS_ROWS)
    if len(common) == 0:
        return []
    matrix = _build_matrix(features, rows)
    suspects = []
    num_judged = 0
    for label in common[np.argsort(-counts[common], kind="stable")][:MAX_LABELS].tolist():
        judgement = judge_labels(matrix, given_labels[:, label])
        if not _is_skilled(judgement, given_labels[:, label]):
            continue
        num_judged += 1
        for place, margin in zip(judgement.suspects.tolist(), judgement.margins.tolist(), strict=True):
            reason = f"{'with' if given_labels[place, label] else 'without'} '{target.names[label]}', which is unlikely"
            suspects.append(Suspect(int(rows[place]), margin, reason))
    notes.append(
        f"{name}: {num_judged} of {len(target.names)} labels are judged, each by a quick model on {len(rows):,} rows, "
        "by cross-validation; of the others it knows too little"
    )
    return suspects


JUDGES = {**dict.fromkeys(CLASSES, _judge_classes), "multilabel": _judge_label_sets}  # by task


def _is_skilled(judgement: Judgement, labels: np.ndarray) -> bool:
    """Return whether a model is far better than always predicting the most frequent class."""
    chance = float(np.bincount(labels).max() / len(labels))
    return judgement.accuracy >= chance + MIN_SKILL * (1 - chance)


def judge_labels(features: np.ndarray, labels: np.ndarray) -> Judgement:
    """Judge each label by a model fitted to other rows.

    A label is suspicious if the most probable class, among those at least as probable as for rows of that class on
    average, is another one, and by far more probable.

    Args:
        features: [n, D].
        labels: class numbers [n], at least NUM_FOLDS of each.
    """
    classes, given_classes = np.unique(labels, return_inverse=True)
    probabilities = _predict_across_folds(features, given_classes, len(classes))
    given_probabilities = probabilities[np.arange(len(given_classes)), given_classes]
    thresholds = np.bincount(given_classes, weights=given_probabilities) / np.bincount(given_classes)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    margin = confident.max(axis=1) - given_probabilities
    suspects = np.flatnonzero((suggested != given_classes) & (margin >= MIN_MARGIN))
    suspects = suspects[np.argsort(-margin[suspects], kind="stable")]
    accuracy = float((probabilities.argmax(axis=1) == given_classes).mean())
    return Judgement(suspects, margin[suspects], classes[suggested], accuracy)


def _predict_across_folds(features: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the probability of each class [n, K] by a model that was not fitted to the row."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    probabilities = np.zeros((len(labels), num_classes))
    folds = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(features, labels):
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=MAX_ITERATIONS, tol=TOLERANCE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], labels[train])
        probabilities[test] = model.predict_proba(features[test])
    return probabilities


def hash_texts(texts: list[str]) -> "csr_matrix":
    """Return the counts of words and word pairs, hashed, with rare ones weighing more [n, D].

    Args:
        texts: n texts.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    counts = HashingVectorizer(n_features=NUM_WORDS, ngram_range=(1, 2), alternate_sign=False).transform(texts)
    return TfidfTransformer().fit_transform(counts)


def _build_matrix(features: Mapping[str, Features], rows: np.ndarray) -> np.ndarray:
    """Return the features of all modalities side by side [n, D] float32, zeros where one is missing."""
    from scipy.sparse import issparse

    blocks = []
    for modality in features.values():
        is_read = np.isin(rows, modality.rows)
        values = modality.select(np.searchsorted(modality.rows, rows[is_read]))
        dense = _reduce(values) if issparse(values) else _standardise(values)
        block = np.zeros((len(rows), dense.shape[1]), dtype=np.float32)
        block[is_read] = dense
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _reduce(values: "csr_matrix") -> np.ndarray:
    """Return sparse features as at most MAX_COMPONENTS dense ones [n, D]."""
    from sklearn.decomposition import TruncatedSVD

    if min(values.shape) <= MAX_COMPONENTS:
        return np.asarray(values.toarray()) * LENGTH
    components = TruncatedSVD(MAX_COMPONENTS, random_state=0).fit_transform(values.astype(np.float32))
    return np.asarray(components) * LENGTH


def _standardise(values: np.ndarray) -> np.ndarray:
    """Return features with mean 0, in rows of length LENGTH on average, whatever their number."""
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    scaled = np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > MIN_DEVIATION)
    return np.asarray(scaled * LENGTH / np.sqrt(max(1, scaled.shape[1])))
