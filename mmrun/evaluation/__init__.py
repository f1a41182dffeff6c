"""What a finished run is worth beyond its metrics: contribution of each modality, robustness, worst subgroups.

`evaluate` gives all of it as JSON values, `keep` puts that into the run's folder, where reports find it.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from mmrun.errors import ConfigError
from mmrun.evaluation import calibration, contribution, drift, robustness, subgroups
from mmrun.evaluation.conditions import CLEAN, Condition, Given, measure
from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.head import FUSED
from mmrun.results.evaluations import (
    OWN_CEILINGS,
    SCHEMA,  # of evaluation.json, see docs/evaluation.md
)
from mmrun.results.files import read_json, write_json
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import read_predictions
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session
from mmrun.tasks.metrics import VERSION


def evaluate(
    session: Session,
    split: str = "test",
    everything: bool = False,
    unimodal: RunFolder | None = None,
    group: str | None = None,
) -> dict[str, Any]:
    """Evaluate a finished run; with `everything` also under noise, and its encoders before and after fusion.

    `unimodal` is a run whose probes say what each modality reaches alone, `group` a column of the data set's file.
    """
    _check(session)
    modalities = list(session.columns)
    ceilings = None if unimodal is None else contribution.ceilings(unimodal, session, split)
    by_group = None if group is None else _by_group(session, split, group)
    matrix = list(contribution.matrix(modalities))
    points = list(robustness.points(session.data.kinds)) if everything else []
    conditions = [condition for _, _, condition in matrix] + [condition for _, condition in points]
    measured, targets = measure(session, split, conditions)
    subsets = {(fill, subset): found for (fill, subset, _), found in zip(matrix, measured, strict=False)}
    spoiled = {point: found for (point, _), found in zip(points, measured[len(matrix) :], strict=True)}
    constant = contribution.constant(session, targets)
    whole = subsets["absent", tuple(modalities)]
    primary_metrics = [name for name in run_metrics.primary_metrics(session, [FUSED]) if name in whole]

    found: dict[str, Any] = {
        "schema": SCHEMA,
        "metric_version": VERSION,
        "run": session.folder.name,
        "split": split,
        "rows": len(session.data.rows[split]),
        "modalities": modalities,
        "saw_missing": contribution.saw_missing(session),
        "primary_metrics": primary_metrics,
        "metrics": whole,
        "constant": constant,
        "missing": _missing(subsets),
        "shapley": {name: _shapley(subsets, constant, modalities, name) for name in primary_metrics},
        "synergy": {},
        "classes": _classes(session, split),
    }
    for name in primary_metrics:
        alone = {m: subsets["absent", (m,)][name] for m in modalities} if ceilings is None else ceilings[name]
        said = OWN_CEILINGS if unimodal is None else unimodal.name
        found["synergy"][name] = contribution.synergy(whole[name], alone, said)
    if everything:
        found["robustness"] = robustness.curves(spoiled, primary_metrics)
        found["drift"] = drift.of_encoders(session)
    if by_group is not None:
        found["groups"] = by_group
    return found


def what_if(
    session: Session, split: str, missing: list[str], noise: Mapping[str, float], fill: str = "absent"
) -> list[dict[str, Any]]:
    """Return the metrics as they are, and with modalities missing or corrupted in each way of their kind."""
    _check(session)
    modalities = list(session.columns)
    left = tuple(modality for modality in modalities if modality not in missing)
    start = contribution.condition(left, modalities, fill)
    conditions: list[Condition] = [dict.fromkeys(modalities, CLEAN)]
    for names in product(*(CORRUPTIONS[session.data.kinds[modality]] for modality in noise)):
        spoiled = {m: Given(name, severity) for (m, severity), name in zip(noise.items(), names, strict=True)}
        conditions.append({**start, **spoiled})
    measured, _ = measure(session, split, conditions)
    return [
        {"given": {m: [*condition[m]] if m in condition else None for m in modalities}, "metrics": found}
        for condition, found in zip(conditions, measured, strict=True)
    ]


def keep(folder: RunFolder, found: Mapping[str, Any]) -> None:
    """Write evaluation.json; parts that an earlier evaluation of the same split found, and this one did not, stay."""
    earlier = read_json(folder.evaluation_file) if folder.evaluation_file.exists() else {}
    same = all(earlier.get(key) == found[key] for key in ("schema", "metric_version", "split"))
    write_json(folder.evaluation_file, {**earlier, **found} if same else found)


def _check(session: Session) -> None:
    """Refuse a run without a fused model, and one whose data are gone."""
    if session.data.table.fingerprint != session.folder.read_metrics()["dataset"]["fingerprint"]:
        raise ConfigError(f"{session.folder.name}: its data set has changed since it was trained; bring that one back")
    heads = session.heads
    if FUSED not in heads:
        does = f"probes of {', '.join(str(head.modality) for head in heads)} alone" if heads else "no head at all"
        raise ConfigError(
            f"{session.folder.name}: its strategy trains {does}, so there is no fused model to evaluate; "
            "name a run of another strategy, and give a unimodal one with --unimodal-runs"
        )


def _missing(subsets: Mapping[tuple[str, contribution.Subset], Mapping[str, float]]) -> dict[str, list[Any]]:
    listed: dict[str, list[Any]] = {fill: [] for fill in contribution.FILLS}
    for (fill, subset), found in subsets.items():
        listed[fill].append({"present": list(subset), "metrics": found})
    return listed


def _shapley(
    subsets: Mapping[tuple[str, contribution.Subset], Mapping[str, float]],
    constant: Mapping[str, float],
    modalities: list[str],
    name: str,
) -> dict[str, dict[str, float]]:  # by fill, by modality
    worth = {}
    for fill in contribution.FILLS:
        value = {subset: found[name] for (own, subset), found in subsets.items() if own == fill}
        worth[fill] = contribution.shapley({(): constant[name], **value}, modalities)
    return worth


def _classes(session: Session, split: str) -> dict[str, Any]:
    found = {}
    for name, task in session.data.tasks.items():
        _, scores, target = read_predictions(session.folder, split, name)
        told = calibration.classes(task, scores, target)
        if told is not None:
            found[name] = told
    return found


def _by_group(session: Session, split: str, group: str) -> dict[str, Any]:  # by task
    values = subgroups.column(session.config.dataset, group)
    found = {}
    for name, task in session.data.tasks.items():
        ids, scores, target = read_predictions(session.folder, split, name)
        found[name] = subgroups.by_group(task, scores, target, [values[id] for id in ids], group)
    return found
