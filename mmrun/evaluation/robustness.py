"""How the figures fall while one modality goes bad, and one number for it a modality."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmrun.evaluation.conditions import CLEAN, Condition, Given
from mmrun.evaluation.corruptions import CORRUPTIONS

SEVERITIES = (0.0, 0.1, 0.2, 0.4, 0.8)


class Point(NamedTuple):
    """One point of a curve."""

    modality: str
    corruption: str
    severity: float
    alone: bool  # the spoiled modality without the others


def points(kinds: Mapping[str, str]) -> Iterator[tuple[Point, Condition]]:
    """Return every point of every modality's curves; a severity of 0 stands only where a curve begins."""
    for spoiled, kind in kinds.items():
        for corruption in CORRUPTIONS[kind]:
            for severity in SEVERITIES:
                given = Given(corruption, severity) if severity > 0 else CLEAN
                yield Point(spoiled, corruption, severity, False), dict.fromkeys(kinds, CLEAN) | {spoiled: given}
                yield Point(spoiled, corruption, severity, True), {spoiled: given}


def curves(figures: Mapping[Point, Mapping[str, float]], primary_metrics: Sequence[str]) -> dict[str, Any]:
    """Gather the points to curves, and say what each modality's are worth; by primary metric, then by modality."""
    summed: dict[str, Any] = {}
    for primary_metric in primary_metrics:
        summed[primary_metric] = {}
        for modality in dict.fromkeys(point.modality for point in figures):
            corruptions = dict.fromkeys(point.corruption for point in figures if point.modality == modality)
            drawn = {}
            for corruption in corruptions:
                fused, alone = (
                    [figures[Point(modality, corruption, severity, part)][primary_metric] for severity in SEVERITIES]
                    for part in (False, True)
                )
                drawn[corruption] = {
                    "fused": fused,
                    "alone": alone,
                    "relative": relative(fused),
                    "effective": effective(fused, alone),
                }
            mean = {
                kind: float(np.mean([curve[kind] for curve in drawn.values()])) for kind in ("relative", "effective")
            }
            summed[primary_metric][modality] = {**mean, "curves": drawn}
    return {"severities": list(SEVERITIES), "metrics": summed}


def relative(curve: Sequence[float]) -> float:
    """Relative robustness (MultiBench: Liang et al., 2021): the area under the curve over severity.

    Divided by the width, so that it is the mean figure while the noise grows.
    """
    width = SEVERITIES[-1] - SEVERITIES[0]
    return float(np.trapezoid(curve, SEVERITIES)) / width


def effective(curve: Sequence[float], baseline: Sequence[float]) -> float:
    """Effective robustness (Taori et al., 2020): what is kept beyond what a baseline of the same clean figure keeps.

    As in MultiBench the baseline's curve is lifted to the clean figure, and the distance to it is taken over the curve.
    """
    lifted = [value + curve[0] - baseline[0] for value in baseline]
    return relative(curve) - relative(lifted)
