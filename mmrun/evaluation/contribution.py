"""The contribution of each modality: metrics of every subset, Shapley values, and the gain of the fusion."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import combinations
from math import factorial
from operator import add
from typing import NamedTuple, TypeVar

import numpy as np

from mmrun.errors import ConfigError
from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS, Condition, Variant
from mmrun.head import FUSED, Head, metric_name
from mmrun.objectives.modality_dropout import ModalityDropout
from mmrun.results.evaluation_schema import Synergy
from mmrun.results.folder import RunFolder
from mmrun.run.metrics import Metrics
from mmrun.run.session import Session

FILLS = {"absent": None, "zeros": ZEROS, "shuffled": SHUFFLED}  # by fill policy: what replaces a missing modality
Subset = tuple[str, ...]  # modalities, in the order of the run
Value = TypeVar("Value", float, np.ndarray)  # of one metric, or of the scores of several rows


class UnimodalMetrics(NamedTuple):
    """The value of each primary metric with each modality alone.

    Attributes:
        source: the run they come from, or a phrase that describes them.
        values: by primary metric, then by modality.
    """

    source: str
    values: dict[str, dict[str, float]]


# ------------------------------------------------------------------------------------------------------------ subsets


def enumerate_subsets(modalities: Sequence[str]) -> list[Subset]:
    """Return the 2^M - 1 non-empty subsets of the modalities.

    Args:
        modalities: all M of them, in the order of the run.

    Returns:
        the smallest subsets first.
    """
    subsets: list[Subset] = []
    for size in range(1, len(modalities) + 1):
        subsets += combinations(modalities, size)
    return subsets


def build_condition(subset: Subset, modalities: Sequence[str], fill: str) -> Condition:
    """Return the condition under which only a subset of the modalities is intact.

    Args:
        subset: the intact modalities.
        modalities: all modalities.
        fill: the fill policy for all others, a key of FILLS.
    """
    replacement = FILLS[fill]
    condition: dict[str, Variant] = {}
    for modality in modalities:
        if modality in subset:
            condition[modality] = CLEAN
        elif replacement is not None:
            condition[modality] = replacement
    return condition


def enumerate_conditions(modalities: Sequence[str]) -> Iterator[tuple[str, Subset, Condition]]:
    """Yield every subset under every fill policy.

    Args:
        modalities: all modalities, in the order of the run.

    Yields:
        the fill policy, the subset, and its condition.
    """
    for fill in FILLS:
        for subset in enumerate_subsets(modalities):
            yield fill, subset, build_condition(subset, modalities, fill)


def evaluate_constant(session: Session, targets: Mapping[str, np.ndarray]) -> Metrics:
    """Return the metrics of a constant prediction: class frequencies, or the mean, of the labelled training rows.

    Args:
        session: the run, opened again.
        targets: of the rows to evaluate, by task, [N] or [N, C].

    Returns:
        metrics by their names in a run.
    """
    metrics: Metrics = {}
    for name, task in session.data.tasks.items():
        visible = session.data.table.targets[name].values[session.data.rows["labelled"]]
        if np.issubdtype(visible.dtype, np.integer):
            visible = np.eye(task.num_outputs)[visible[visible >= 0]]
        prediction = np.nanmean(visible.reshape(len(visible), -1), axis=0)  # [C]
        scores = np.tile(prediction.astype(np.float32), (len(targets[name]), 1))  # [N, C]
        for metric, value in task.metrics(scores, targets[name]).items():
            metrics[metric_name(metric, name, FUSED, len(session.data.tasks))] = value
    return metrics


def saw_missing(session: Session) -> bool:
    """Return whether the fused head was trained on rows without one of the modalities.

    Only then is its answer to a subset of the modalities more than a guess.

    Args:
        session: the run, opened again.

    Returns:
        True if a stage drops modalities at random, or if labelled training rows lack some.
    """
    dropout = f"{ModalityDropout.__module__}.{ModalityDropout.__qualname__}"
    uses_dropout = any(stage.config.objective["_target_"] == dropout for stage in session.stages.values())
    rows = session.data.rows["labelled"]
    return uses_dropout or not all(column.present.numpy()[rows].all() for column in session.columns.values())


# ------------------------------------------------------------------------------------------------ values of a modality


def shapley_values(values: Mapping[Subset, Value], modalities: Sequence[str]) -> dict[str, Value]:
    """Return exact Shapley values (Shapley, 1953): the mean gain of each modality over all orders of adding them.

    Args:
        values: the metric, or the scores of several rows [N], of every subset, including the empty one.
        modalities: all modalities, in the order of the subsets.

    Returns:
        by modality. They sum to the value of all modalities less that of none.
    """
    shapley: dict[str, Value] = {}
    for modality in modalities:
        others = [name for name in modalities if name != modality]
        gains: list[Value] = []
        for size in range(len(modalities)):
            weight = factorial(size) * factorial(len(others) - size) / factorial(len(modalities))
            for subset in combinations(others, size):
                extended = tuple(name for name in modalities if name in subset or name == modality)
                gains.append(weight * (values[extended] - values[subset]))
        shapley[modality] = reduce(add, gains)
    return shapley


def compute_synergy(fused: float, alone: Mapping[str, float], source: str) -> Synergy:
    """Return the gain of the fusion over the best modality; a fusion that gains nothing is flagged.

    Args:
        fused: the metric of the fused model.
        alone: the same metric of each modality alone.
        source: of the values of `alone`.

    Returns:
        an entry of evaluation.json.
    """
    best = max(alone, key=lambda modality: alone[modality])
    gap = fused - alone[best]
    return {
        "fused": fused,
        "alone": dict(alone),
        "best": best,
        "gap": gap,
        "flagged": gap <= 0 and len(alone) > 1,
        "ceilings": source,
    }


def read_unimodal_metrics(unimodal_run: RunFolder, session: Session, split: str) -> UnimodalMetrics:
    """Read the metrics of each modality alone from the probes of a unimodal run.

    Args:
        unimodal_run: a run of strategy=unimodal.
        session: the run with the fused model.
        split: val or test.

    Raises:
        ConfigError: the unimodal run is not finished, has other data or another seed, or lacks the probe of a modality.
    """
    where = f"--unimodal-runs {unimodal_run.name}"
    _check_comparable(unimodal_run, session, where)
    metrics = unimodal_run.read_metrics()["metrics"].get(split, {})
    values: dict[str, dict[str, float]] = {}
    tasks = session.data.tasks
    for task in tasks.values():
        fused_name = metric_name(task.primary_metric, task.name, FUSED, len(tasks))
        values[fused_name] = {}
        for modality in session.columns:
            probe_name = metric_name(task.primary_metric, task.name, Head(modality), len(tasks))
            value = metrics.get(probe_name)
            if value is None:
                raise ConfigError(
                    f"{where}: has no {probe_name} on the {split} rows; pass a run of strategy=unimodal with the "
                    f"modalities {', '.join(session.columns)}"
                )
            values[fused_name][modality] = value
    return UnimodalMetrics(unimodal_run.name, values)


def _check_comparable(unimodal_run: RunFolder, session: Session, where: str) -> None:
    """Raise an error unless both runs have the same data, split, labelled share and seed."""
    if not unimodal_run.finished:
        raise ConfigError(f"{where}: this run is not finished; mmrun resume {unimodal_run.path}")
    unimodal, fused = unimodal_run.read_metrics(), session.folder.read_metrics()
    for description, key in (("data", "fingerprint"), ("split", "split"), ("labelled share", "labelled")):
        if dict(unimodal["dataset"])[key] != dict(fused["dataset"])[key]:
            raise ConfigError(
                f"{where}: its {description} is not that of {session.folder.name}; pass a run on the same data"
            )
    if unimodal["seed"] != fused["seed"]:
        raise ConfigError(
            f"{where}: its seed is {unimodal['seed']}, not {fused['seed']}; pass a run with the same seed"
        )
