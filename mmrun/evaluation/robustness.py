"""Robustness: how the metrics fall as one modality is corrupted more and more."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mmrun.evaluation.conditions import CLEAN, Condition, Variant
from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.results.evaluation_schema import ModalityRobustness, NoiseCurve, Robustness

SEVERITIES = (0.0, 0.1, 0.2, 0.4, 0.8)


class Point(NamedTuple):
    """One point of a noise curve.

    Attributes:
        modality: that is corrupted.
        corruption: its name.
        severity: one of SEVERITIES.
        alone: whether the other modalities are absent; else they are clean.
    """

    modality: str
    corruption: str
    severity: float
    alone: bool


def enumerate_points(kinds: Mapping[str, str]) -> Iterator[tuple[Point, Condition]]:
    """Yield every point of every modality's noise curves.

    Args:
        kinds: of the modalities.

    Yields:
        a point and its condition. A curve begins with clean input, at severity 0.
    """
    for modality, kind in kinds.items():
        for corruption in CORRUPTIONS[kind]:
            for severity in SEVERITIES:
                variant = Variant(corruption, severity) if severity > 0 else CLEAN
                fused = {**dict.fromkeys(kinds, CLEAN), modality: variant}
                yield Point(modality, corruption, severity, alone=False), fused
                yield Point(modality, corruption, severity, alone=True), {modality: variant}


def compute_robustness(metrics: Mapping[Point, Mapping[str, float]], primary_metrics: Sequence[str]) -> Robustness:
    """Join the points to curves, and summarize the curves of each modality.

    Args:
        metrics: of every point.
        primary_metrics: the metrics to report.

    Returns:
        an entry of evaluation.json.
    """
    by_metric: dict[str, dict[str, ModalityRobustness]] = {}
    for name in primary_metrics:
        values = {point: point_metrics[name] for point, point_metrics in metrics.items()}
        by_metric[name] = {}
        for modality in dict.fromkeys(point.modality for point in metrics):
            by_metric[name][modality] = _summarize_modality(values, modality)
    return {"severities": list(SEVERITIES), "metrics": by_metric}


def _summarize_modality(values: Mapping[Point, float], modality: str) -> ModalityRobustness:
    """Return the curves of one modality, and their means over the corruptions."""
    curves: dict[str, NoiseCurve] = {}
    for corruption in dict.fromkeys(point.corruption for point in values if point.modality == modality):
        curves[corruption] = _build_curve(values, modality, corruption)
    return {
        "relative": float(np.mean([curve["relative"] for curve in curves.values()])),
        "effective": float(np.mean([curve["effective"] for curve in curves.values()])),
        "curves": curves,
    }


def _build_curve(values: Mapping[Point, float], modality: str, corruption: str) -> NoiseCurve:
    """Return the curve of one corruption."""
    fused = [values[Point(modality, corruption, severity, alone=False)] for severity in SEVERITIES]
    alone = [values[Point(modality, corruption, severity, alone=True)] for severity in SEVERITIES]
    return {
        "fused": fused,
        "alone": alone,
        "relative": relative_robustness(fused),
        "effective": effective_robustness(fused, alone),
    }


def relative_robustness(curve: Sequence[float]) -> float:
    """Return relative robustness (MultiBench: Liang et al., 2021): the area under the curve over severity.

    Args:
        curve: the metric at each of SEVERITIES.

    Returns:
        the area divided by its width, that is, the mean metric over the severities.
    """
    width = SEVERITIES[-1] - SEVERITIES[0]
    return float(np.trapezoid(curve, SEVERITIES)) / width


def effective_robustness(curve: Sequence[float], baseline: Sequence[float]) -> float:
    """Return effective robustness (Taori et al., 2020): robustness beyond that of an equally good baseline.

    As in MultiBench (Liang et al., 2021), the baseline's curve is shifted to start at the same clean metric.

    Args:
        curve: the metric at each of SEVERITIES.
        baseline: the same metric of a baseline.

    Returns:
        the mean distance between the curve and the shifted baseline; above 0, the model is the more robust one.
    """
    shifted = [value + curve[0] - baseline[0] for value in baseline]
    return relative_robustness(curve) - relative_robustness(shifted)
