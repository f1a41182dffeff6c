"""What each modality is worth: figures of every subset, Shapley values, and what fusion adds to the best modality."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np

from mmrun.errors import ConfigError
from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS, Condition
from mmrun.head import FUSED, Head
from mmrun.objectives.modality_dropout import ModalityDropout
from mmrun.results.folder import RunFolder
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session

FILLS = {"absent": None, "zeros": ZEROS, "shuffled": SHUFFLED}  # what stands in the place of what is left out
Subset = tuple[str, ...]  # modalities, in the order of the run
Figures = dict[str, float]


def subsets(modalities: Sequence[str]) -> list[Subset]:
    """Return the 2^M - 1 subsets that hold something, the smallest first."""
    return [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]


def condition(subset: Subset, modalities: Sequence[str], fill: str) -> Condition:
    """Describe what each modality contributes when only a subset is intact."""
    given = FILLS[fill]
    return {m: CLEAN if m in subset else given for m in modalities if m in subset or given is not None}  # type: ignore[misc]


def matrix(modalities: Sequence[str]) -> Iterator[tuple[str, Subset, Condition]]:
    """Return every subset under every fill policy."""
    for fill in FILLS:
        for subset in subsets(modalities):
            yield fill, subset, condition(subset, modalities, fill)


def constant(session: Session, targets: Mapping[str, np.ndarray]) -> Figures:
    """Return the metrics of a constant: the class frequencies, or the mean, of the labelled training rows."""
    found = {}
    for name, task in session.data.tasks.items():
        known = session.data.table.targets[name].values[session.data.rows["labelled"]]
        if np.issubdtype(known.dtype, np.integer):
            known = np.eye(task.num_outputs)[known[known >= 0]]
        guess = np.nanmean(known.reshape(len(known), -1), axis=0)  # [C]
        scores = np.tile(guess.astype(np.float32), (len(targets[name]), 1))
        for figure, value in task.metrics(scores, targets[name]).items():
            found[run_metrics.metric_name(figure, name, FUSED, len(session.data.tasks))] = value
    return found


def saw_missing(session: Session) -> bool:
    """Return whether the fused head learned from rows that lack a modality: only then are subsets fairly asked for."""
    dropout = f"{ModalityDropout.__module__}.{ModalityDropout.__qualname__}"
    dropped = any(stage.config.objective["_target_"] == dropout for stage in session.stages.values())
    rows = session.data.rows["labelled"]
    return dropped or not all(column.present.numpy()[rows].all() for column in session.columns.values())


def shapley(value: Mapping[Subset, float], modalities: Sequence[str]) -> dict[str, float]:
    """Return exact Shapley values (1953): each modality's mean gain over all orders of adding modalities.

    `value` holds every subset, the empty one too. The gains sum to the value of all less that of none.
    """
    worth = {}
    for modality in modalities:
        others = [other for other in modalities if other != modality]
        gains = []
        for size in range(len(modalities)):
            weight = factorial(size) * factorial(len(others) - size) / factorial(len(modalities))
            for subset in combinations(others, size):
                joined = tuple(m for m in modalities if m in subset or m == modality)
                gains.append(weight * (value[joined] - value[subset]))
        worth[modality] = sum(gains)
    return worth


def synergy(fused: float, alone: Mapping[str, float], ceilings: str) -> dict[str, Any]:
    """Print the gain of the fusion over the best modality; one that gains nothing is flagged."""
    best = max(alone, key=lambda modality: alone[modality])
    gap = fused - alone[best]
    return {
        "fused": fused,
        "alone": dict(alone),
        "best": best,
        "gap": gap,
        "flagged": gap <= 0 and len(alone) > 1,
        "ceilings": ceilings,
    }


def ceilings(unimodal: RunFolder, session: Session, split: str) -> dict[str, dict[str, float]]:
    """Read from a unimodal run what each modality reaches alone: by primary metric, then by modality."""
    where = f"--unimodal-runs {unimodal.name}"
    if not unimodal.finished:
        raise ConfigError(f"{where}: this run is not finished; mmrun resume {unimodal.path}")
    theirs, ours = unimodal.read_metrics(), session.folder.read_metrics()
    for what, key in (("data", "fingerprint"), ("split", "split"), ("labelled share", "labelled")):
        if dict(theirs["dataset"])[key] != dict(ours["dataset"])[key]:
            raise ConfigError(f"{where}: its {what} is not that of {session.folder.name}; give a run on the same data")
    if theirs["seed"] != ours["seed"]:
        raise ConfigError(f"{where}: its seed is {theirs['seed']}, not {ours['seed']}; give a run of the same seed")
    found: dict[str, dict[str, float]] = {}
    tasks = session.data.tasks
    for task in tasks.values():
        name = run_metrics.metric_name(task.primary_metric, task.name, FUSED, len(tasks))
        for modality in session.columns:
            alone = run_metrics.metric_name(task.primary_metric, task.name, Head(modality), len(tasks))
            value = theirs["metrics"].get(split, {}).get(alone)
            if value is None:
                raise ConfigError(
                    f"{where}: has no {alone} on the {split} rows; give a run of strategy=unimodal with the modalities "
                    f"{', '.join(session.columns)}"
                )
            found.setdefault(name, {})[modality] = value
    return found
