"""Compressed runs beside their originals: parameters, size, latency and memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from mmrun.results.formatting import format_count, format_milliseconds, format_size
from mmrun.results.schema import Footprint, Inference, RunRecord
from mmrun.results.table import Table

HEADER = ["parameters", "not zero", "file", "p50", "p99", "memory"]
FORMATS: dict[str, Callable[[float], str]] = {  # of the keys of a footprint, in the order of HEADER
    "parameters": format_count,
    "nonzero_parameters": format_count,
    "file_size": format_size,
    "p50": format_milliseconds,
    "p99": format_milliseconds,
    "memory": format_size,
}
TITLE = "predicting one row; in brackets: times the original, measured in turns in one process"


def build_inference_table(inference: Inference) -> Table:
    """Show what predicting one row takes before and after compression."""
    original = inference["original"]
    rows = [["original", *format_footprint(original, None)]]
    rows.append(["compressed", *format_footprint(inference["compressed"], original)])
    return Table(TITLE, ["model", *HEADER], rows)


def build_group_table(by: Sequence[str], groups: Sequence[tuple[Sequence[str], Sequence[RunRecord]]]) -> Table | None:
    """Show what predicting one row takes, averaged over the compressed runs of each group.

    Args:
        by: keys of the groups.
        groups: their values and runs; those without a compressed run are left out.

    Returns:
        The table, or None where no run is compressed.
    """
    rows = []
    for values, runs in groups:
        measured = [run["inference"] for run in runs if "inference" in run]
        if measured:
            original = _average([inference["original"] for inference in measured])
            compressed = _average([inference["compressed"] for inference in measured])
            rows.append([*values, *format_footprint(compressed, original)])
    return Table(TITLE, [*by, *HEADER], rows, len(by)) if rows else None


def _average(footprints: Sequence[Footprint]) -> Footprint:
    totals = dict.fromkeys(FORMATS, 0.0)
    for footprint in footprints:
        for name, value in _read_values(footprint).items():
            totals[name] += value / len(footprints)
    return cast(Footprint, totals)


def _read_values(footprint: Footprint) -> dict[str, float]:
    return {name: value for name, value in cast(Mapping[str, float], footprint).items() if name in FORMATS}


def format_footprint(footprint: Footprint, original: Footprint | None) -> list[str]:
    """Return the cells of what predicting one row takes.

    Args:
        footprint: of a model.
        original: of the model that it is compared with; None: with none.
    """
    values = _read_values(footprint)
    originals = {} if original is None else _read_values(original)
    cells = []
    for name, format_value in FORMATS.items():
        ratio = f" ({values[name] / originals[name]:.2f}x)" if originals.get(name) else ""
        cells.append(f"{format_value(values[name])}{ratio}")
    return cells
