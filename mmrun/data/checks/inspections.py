"""Inspects the rows of one modality: which cannot be read, what they hold, what is odd, and which resemble others."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from mmrun.data.checks.finding import Finding
from mmrun.data.checks.labels import Features, hash_texts
from mmrun.data.checks.read_values import ReadValues, read_values
from mmrun.data.checks.similarity import find_similar_texts, find_similar_vectors
from mmrun.data.checks.table_columns import check_columns, decode_records, encode_records, find_unusual_pairs
from mmrun.data.packed import Records
from mmrun.data.preprocess.image_files import Header
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.video_files import VideoHeader
from mmrun.data.table import Column, Table

# Of copies; brighter and louder ones are copies, too
MIN_LENGTH_RATIO = {"image": 0.0, "audio": 0.0, "video": 0.0, "series": 0.95, "points": 0.95}
FLAGS = {  # what is odd in a value -> what values of a kind are called that have it
    "blank": {
        "image": "images of one colour",
        "series": "constant series",
        "video": "videos of one colour",
        "points": "clouds of one place",
    },
    "still": {"video": "videos in which nothing moves"},
    "silent": {"audio": "silent recordings"},
    "clipped": {"audio": "clipped recordings"},
    "not-finite": {
        "image": "images with NaN or infinity",
        "audio": "recordings with NaN or infinity",
        "series": "series with NaN or infinity",
        "points": "clouds with points of NaN or infinity, which are left out",
    },
    "empty": {"text": "texts without a letter or digit"},
}


class Range(TypedDict):
    """Smallest, median and largest value."""

    least: float
    median: float
    most: float


class ModalityAudit(TypedDict, total=False):
    """What was seen of a modality; all but the first four keys depend on its kind.

    `missing` and `missing_by_split` are shares of the rows, `looked_at` the number of rows that were decoded; `columns`
    and `told_by`, the reason for the kind, are added by `mmrun data check`. Counters map a value to its number of rows.
    """

    kind: str
    missing: float
    looked_at: int
    missing_by_split: dict[str, float]
    width: Range | None  # image and video, pixels
    height: Range | None
    modes: dict[str, int]
    frames: Range | None  # video
    seconds: Range | None  # audio; video, None where the frames are files
    rates: dict[int, int]  # Hz
    words: Range | None  # text
    different: int
    channels: dict[int, int]  # series
    steps: Range | None
    points: Range | None  # points
    fields: dict[str, int]  # columns of a point
    numeric: list[str]  # tabular: names of columns
    categories: dict[str, int]  # number of categories by column
    columns: list[str]
    told_by: str


class Inspection(NamedTuple):
    """What is known of a modality once its rows are read.

    Attributes:
        facts: for people, by kind.
        findings: rows that cannot be read, and what is odd.
        pairs: rows that resemble each other [P, 2].
        features: for a quick model.
    """

    facts: ModalityAudit
    findings: list[Finding]
    pairs: np.ndarray
    features: Features | None


def _describe_images(headers: Sequence[Header]) -> ModalityAudit:
    return {
        "width": summarize([header.width for header in headers]),
        "height": summarize([header.height for header in headers]),
        "modes": dict(Counter(header.mode for header in headers)),
    }


def _describe_videos(headers: Sequence[VideoHeader]) -> ModalityAudit:
    return {
        "width": summarize([header.width for header in headers]),
        "height": summarize([header.height for header in headers]),
        "frames": summarize([header.num_frames for header in headers]),
        "seconds": summarize([header.seconds for header in headers if header.seconds is not None]),
    }


def _describe_recordings(facts: Sequence[tuple[float, int]]) -> ModalityAudit:
    seconds = [duration for duration, _ in facts]
    return {"seconds": summarize(seconds), "rates": dict(Counter(rate for _, rate in facts))}


def _describe_series(shapes: Sequence[tuple[int, int]]) -> ModalityAudit:
    channels = Counter(num_channels for num_channels, _ in shapes)
    return {"channels": dict(channels), "steps": summarize([num_steps for _, num_steps in shapes])}


def _describe_points(facts: Sequence[tuple[int, Sequence[str]]]) -> ModalityAudit:
    fields = Counter(", ".join(names) for _, names in facts)
    return {"points": summarize([num_points for num_points, _ in facts]), "fields": dict(fields)}


DESCRIPTIONS: dict[str, Callable[[Sequence[Any]], ModalityAudit]] = {
    "image": _describe_images,
    "audio": _describe_recordings,
    "series": _describe_series,
    "points": _describe_points,
    "video": _describe_videos,
}


def _inspect_files(table: Table, name: str, column: Column, rows: np.ndarray) -> Inspection:
    """Inspect images, recordings, videos, series or points, and compare them by their features."""
    samples = read_values(column, rows)
    facts = DESCRIPTIONS[column.kind]([value.facts for value in samples.values])
    features = samples.stack_features()
    differences = features - features.mean(axis=1, keepdims=True)
    pairs = samples.rows[find_similar_vectors(differences, MIN_LENGTH_RATIO[column.kind])]
    findings = [*_report_values(name, column, samples), *_report_differing(name, facts)]
    return Inspection(facts, findings, pairs, Features(samples.rows, features.__getitem__))


def _report_values(name: str, column: Column, samples: ReadValues) -> list[Finding]:
    """Report the rows that cannot be read, and those that are odd."""
    findings = []
    if samples.unreadable:
        where = [f"{column.locate(row)}: {reason}" for row, reason in samples.unreadable.items()]
        message, remedy = f"{name}: cells that cannot be read", "replace them, or set on_error=skip"
        findings.append(Finding("unreadable", message, remedy, "error", list(samples.unreadable), where))
    for flag, messages in FLAGS.items():
        rows = samples.find_flagged(flag)
        if rows:
            remedy = f"replace them; `mmrun data clean --drop {flag}`"
            message = f"{name}: {messages[column.kind]}"
            findings.append(Finding(flag, message, remedy, rows=rows, where=[column.locate(row) for row in rows]))
    return findings


def _report_differing(name: str, facts: ModalityAudit) -> list[Finding]:
    """Report series with other channels, or points of other columns, than most."""
    channels, fields = facts.get("channels", {}), facts.get("fields", {})
    if len(channels) > 1:
        numbers = ", ".join(map(str, sorted(channels)))
        message, remedy = f"{name}: series with {numbers} channels", "a run needs the same number in all rows"
        return [Finding("channels", message, remedy)]
    if len(fields) > 1:
        message = f"{name}: points of different columns: {' | '.join(sorted(fields))}"
        return [Finding("channels", message, "a run needs the same columns in all rows")]
    return []


def _inspect_texts(table: Table, name: str, column: Column, rows: np.ndarray) -> Inspection:
    samples = read_values(column, rows)
    texts = [value.facts for value in samples.values]
    words = summarize([len(text.split()) for text in texts])
    facts: ModalityAudit = {"words": words, "different": len(set(texts))}
    pairs = samples.rows[find_similar_texts(texts)]
    features = Features(samples.rows, lambda places: hash_texts([texts[place] for place in places]))
    return Inspection(facts, _report_values(name, column, samples), pairs, features)


def _inspect_cells(table: Table, name: str, column: Column, rows: np.ndarray) -> Inspection:
    cells, records = Cells(), Records.from_rows(column.values)
    cells.fit(column, table.rows("train"))
    decoded, unreadable = decode_records(cells, records)
    findings = _report_values(name, column, ReadValues(rows[:0], [], unreadable))
    findings += check_columns(table, name, cells)
    readable = np.setdiff1d(rows, list(unreadable))
    decoded = {part: values[readable] for part, values in decoded.items()}
    categories = {label: len(transform.names) for label, transform in cells.categories.items()}
    facts: ModalityAudit = {"numeric": list(cells.numeric), "categories": categories}
    pairs = readable[find_unusual_pairs(decoded)]
    features = Features(readable, lambda places: encode_records({part: rows[places] for part, rows in decoded.items()}))
    return Inspection(facts, findings, pairs, features)


INSPECTIONS: dict[str, Callable[[Table, str, Column, np.ndarray], Inspection]] = {
    **dict.fromkeys(DESCRIPTIONS, _inspect_files),
    "text": _inspect_texts,
    "tabular": _inspect_cells,
}


def summarize(values: Sequence[float]) -> Range | None:
    """Return the smallest, median and largest value; None of none.

    Args:
        values: to summarise.
    """
    if not values:
        return None
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)}
