"""The metrics that mmrun knows by their names: which direction is better, and between which bounds their values lie."""

from collections.abc import Iterable
from math import inf
from typing import NamedTuple


class Metric(NamedTuple):
    """A metric.

    Attributes:
        is_higher_better: its direction.
        low: no value is lower.
        high: no value is higher.
    """

    is_higher_better: bool
    low: float = 0.0
    high: float = 1.0


METRICS = {
    "loss": Metric(False, -inf, inf),
    "accuracy": Metric(True),
    "balanced_accuracy": Metric(True),
    "exact_match": Metric(True),
    "quadratic_kappa": Metric(True, low=-1.0),
    "f1_macro": Metric(True),
    "f1_micro": Metric(True),
    "f1_weighted": Metric(True),
    "precision_macro": Metric(True),
    "recall_macro": Metric(True),
    "auroc": Metric(True),
    "average_precision": Metric(True),
    "sensitivity_at_specificity": Metric(True),
    "calibration_error": Metric(False),
    "nll": Metric(False, high=inf),
    "mse": Metric(False, high=inf),
    "rmse": Metric(False, high=inf),
    "mae": Metric(False, high=inf),
    "r2": Metric(True, low=-inf),
}

SUFFIXES = {"_loss": False, "_error": False, "_score": True}  # whether higher is better, in metrics of other packages


def strip_metric(name: str) -> str:
    """Return a metric without its task and its head.

    Args:
        name: as in metrics.json, without the split: accuracy, label.accuracy/image.
    """
    return name.partition("/")[0].rpartition(".")[2]


def is_higher_better(metric: str) -> bool | None:
    """Return the direction of a metric.

    Args:
        metric: accuracy ..., or a name of another package that ends in one of SUFFIXES.

    Returns:
        None for an unknown metric.
    """
    if metric in METRICS:
        return METRICS[metric].is_higher_better
    return next((direction for suffix, direction in SUFFIXES.items() if metric.endswith(suffix)), None)


def find_bounds(metric: str, values: Iterable[float]) -> tuple[float, float]:
    """Return the bounds between which values of a metric lie.

    Args:
        metric: as in metrics.json, without the split.
        values: of runs.

    Returns:
        Minus and plus infinity for an unknown metric, and where a value is out of bounds: a user's accuracy in percent.
    """
    known = METRICS.get(strip_metric(metric))
    if known is None or not all(known.low <= value <= known.high for value in values):
        return -inf, inf
    return known.low, known.high
