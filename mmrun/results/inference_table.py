"""Compressed runs beside their originals: parameters, size, latency and memory."""

from collections.abc import Sequence

from mmrun.results.formatting import format_count, format_size
from mmrun.results.schema import Footprint, Inference, RunRecord
from mmrun.results.table import Table

HEADER = ["parameters", "not zero", "file", "p50", "p99", "memory"]
TITLE = "predicting one row; in brackets: times the original, measured in turns in one process"


def build_inference_table(inference: Inference) -> Table:
    """Show what predicting one row takes before and after compression.

    Args:
        inference: of a compressed run.
    """
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
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return {
        "parameters": round(mean([footprint["parameters"] for footprint in footprints])),
        "nonzero_parameters": round(mean([footprint["nonzero_parameters"] for footprint in footprints])),
        "file_size": round(mean([footprint["file_size"] for footprint in footprints])),
        "p50": mean([footprint["p50"] for footprint in footprints]),
        "p99": mean([footprint["p99"] for footprint in footprints]),
        "memory": round(mean([footprint["memory"] for footprint in footprints])),
    }


def format_footprint(footprint: Footprint, original: Footprint | None) -> list[str]:
    """Return the cells of what predicting one row takes.

    Args:
        footprint: of a model.
        original: of the model that it is compared with; None: with none.
    """
    cells = [
        format_count(footprint["parameters"]),
        format_count(footprint["nonzero_parameters"]),
        format_size(footprint["file_size"]),
        f"{1000 * footprint['p50']:.3g} ms",
        f"{1000 * footprint['p99']:.3g} ms",
        format_size(footprint["memory"]),
    ]
    if original is None:
        return cells
    ratios = [
        footprint["parameters"] / original["parameters"],
        footprint["nonzero_parameters"] / original["nonzero_parameters"],
        footprint["file_size"] / original["file_size"],
        footprint["p50"] / original["p50"],
        footprint["p99"] / original["p99"],
        footprint["memory"] / original["memory"],
    ]
    return [f"{cell} ({ratio:.2f}x)" for cell, ratio in zip(cells, ratios, strict=True)]
