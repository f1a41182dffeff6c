"""Evaluation of a finished run beyond its metrics: contribution of each modality, robustness, drift and subgroups.

`evaluate` returns the results, `save` writes them to evaluation.json in the run folder, where reports read them.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypedDict

import numpy as np

from mmrun.errors import ConfigError
from mmrun.evaluation import calibration, contribution, drift, robustness, subgroups
from mmrun.evaluation.conditions import CLEAN, Condition, Variant, evaluate_conditions
from mmrun.evaluation.contribution import Subset, UnimodalMetrics
from mmrun.evaluation.corruptions import CORRUPTIONS
from mmrun.evaluation.robustness import Point
from mmrun.head import FUSED
from mmrun.results.evaluation_schema import ClassEvaluation, Evaluation, SubgroupMetrics, SubsetMetrics, Synergy
from mmrun.results.evaluations import OWN_CEILINGS, SCHEMA
from mmrun.results.files import read_json, write_json
from mmrun.results.folder import RunFolder
from mmrun.results.predictions import read_predictions
from mmrun.run import metrics as run_metrics
from mmrun.run.data_identity import read_fingerprint
from mmrun.run.metrics import Metrics
from mmrun.run.session import Session
from mmrun.tasks.metrics import VERSION


class WhatIf(TypedDict):
    """Metrics under one condition.

    Attributes:
        given: the variant of each modality's input; None where it is absent.
        metrics: by name.
    """

    given: dict[str, Variant | None]
    metrics: Metrics


class _Measurements(NamedTuple):
    """Metrics of a run under all conditions of one evaluation."""

    subsets: dict[tuple[str, Subset], Metrics]  # by fill policy and subset
    points: dict[Point, Metrics]  # of the noise curves
    targets: dict[str, np.ndarray]  # by task, [N] or [N, C]


def evaluate(
    session: Session,
    split: str = "test",
    full: bool = False,
    unimodal_run: RunFolder | None = None,
    group_column: str | None = None,
) -> Evaluation:
    """Evaluate a finished run with every subset of its modalities, and with what else is requested.

    Args:
        session: the run, opened again.
        split: val or test.
        full: also evaluate under noise, and compare each encoder before and after the later stages.
        unimodal_run: a run whose probes give the metric of each modality alone. By default, that is the run itself
            with the other modalities absent.
        group_column: a column of the data set's file; also evaluate the rows of each of its values.

    Returns:
        the contents of evaluation.json.

    Raises:
        ConfigError: the run has no fused model or its data have changed, the unimodal run cannot be compared with it,
            or the data set has no such column.
    """
    _check_session(session)
    unimodal = None
    if unimodal_run is not None:
        unimodal = contribution.read_unimodal_metrics(unimodal_run, session, split)
    groups = None if group_column is None else _evaluate_groups(session, split, group_column)
    measured = _measure(session, split, full)
    evaluation = _evaluate_contribution(session, split, measured, unimodal)
    if full:
        evaluation["robustness"] = robustness.compute_robustness(measured.points, evaluation["primary_metrics"])
        evaluation["drift"] = drift.measure_drift(session)
    if groups is not None:
        evaluation["groups"] = groups
    return evaluation


def evaluate_what_if(
    session: Session, split: str, missing: Sequence[str], noise: Mapping[str, float], fill: str = "absent"
) -> list[WhatIf]:
    """Evaluate a run on clean input, and with some modalities missing or corrupted.

    Args:
        session: the run, opened again.
        split: val or test.
        missing: modalities to leave out.
        noise: severity by modality to corrupt, 0 to 1.
        fill: what replaces a missing modality: absent, zeros or shuffled.

    Returns:
        clean input first, then one entry per combination of the corruptions of these modalities' kinds.

    Raises:
        ConfigError: the run has no fused model, or its data have changed.
    """
    _check_session(session)
    modalities = list(session.columns)
    remaining = tuple(modality for modality in modalities if modality not in missing)
    start = contribution.build_condition(remaining, modalities, fill)
    conditions: list[Condition] = [dict.fromkeys(modalities, CLEAN)]
    for names in product(*(CORRUPTIONS[session.data.kinds[modality]] for modality in noise)):
        condition: dict[str, Variant] = dict(start)
        for (modality, severity), name in zip(noise.items(), names, strict=True):
            condition[modality] = Variant(name, severity)
        conditions.append(condition)
    results: list[WhatIf] = []
    all_metrics, _ = evaluate_conditions(session, split, conditions)
    for variants, metrics in zip(conditions, all_metrics, strict=True):
        by_modality = {modality: variants.get(modality) for modality in modalities}
        results.append({"given": by_modality, "metrics": metrics})
    return results


def save(folder: RunFolder, evaluation: Mapping[str, object]) -> None:
    """Write evaluation.json. Parts that an earlier evaluation of the same split has and this one lacks are kept.

    Args:
        folder: of the run.
        evaluation: what `evaluate` returned.
    """
    previous = read_json(folder.evaluation_file) if folder.evaluation_file.exists() else {}
    is_same_split = all(previous.get(key) == evaluation[key] for key in ("schema", "metric_version", "split"))
    write_json(folder.evaluation_file, {**previous, **evaluation} if is_same_split else evaluation)


def _check_session(session: Session) -> None:
    """Raise an error for a run without a fused model, and for one whose data have changed."""
    name = session.folder.name
    table = session.data.table
    if read_fingerprint(session.folder) not in (table.fingerprint, table.old_fingerprint):
        raise ConfigError(
            f"{name}: the data set has changed since the run was trained; restore the data it was trained on"
        )
    heads = session.heads
    if FUSED not in heads:
        probes = ", ".join(str(head.modality) for head in heads)
        trained = f"only probes ({probes})" if heads else "no head at all"
        raise ConfigError(
            f"{name}: its strategy trains {trained}, so there is no fused model to evaluate; "
            "choose a run of another strategy, and pass a unimodal one with --unimodal-runs"
        )


def _measure(session: Session, split: str, full: bool) -> _Measurements:
    """Evaluate every subset under every fill policy, and with `full` every point of the noise curves."""
    subsets = list(contribution.enumerate_conditions(list(session.columns)))
    points = list(robustness.enumerate_points(session.data.kinds)) if full else []
    conditions = [condition for _, _, condition in subsets]
    conditions += [condition for _, condition in points]
    metrics, targets = evaluate_conditions(session, split, conditions)
    by_subset: dict[tuple[str, Subset], Metrics] = {}
    for (fill, subset, _), subset_metrics in zip(subsets, metrics[: len(subsets)], strict=True):
        by_subset[fill, subset] = subset_metrics
    by_point: dict[Point, Metrics] = {}
    for (point, _), point_metrics in zip(points, metrics[len(subsets) :], strict=True):
        by_point[point] = point_metrics
    return _Measurements(by_subset, by_point, targets)


def _evaluate_contribution(
    session: Session, split: str, measured: _Measurements, unimodal: UnimodalMetrics | None
) -> Evaluation:
    """Return the parts of an evaluation that every run has."""
    modalities = list(session.columns)
    constant = contribution.evaluate_constant(session, measured.targets)
    fused = measured.subsets["absent", tuple(modalities)]
    primary_metrics = [name for name in run_metrics.primary_metrics(session, [FUSED]) if name in fused]
    if unimodal is None:
        unimodal = _own_unimodal_metrics(measured, modalities, primary_metrics)
    return {
        "schema": SCHEMA,
        "metric_version": VERSION,
        "run": session.folder.name,
        "split": split,
        "rows": len(session.data.rows[split]),
        "modalities": modalities,
        "saw_missing": contribution.saw_missing(session),
        "primary_metrics": primary_metrics,
        "metrics": fused,
        "constant": constant,
        "missing": _group_by_fill(measured),
        "shapley": _shapley_values(measured, constant, modalities, primary_metrics),
        "synergy": _synergies(fused, unimodal, primary_metrics),
        "classes": _evaluate_classes(session, split),
    }


def _own_unimodal_metrics(
    measured: _Measurements, modalities: Sequence[str], primary_metrics: Sequence[str]
) -> UnimodalMetrics:
    """Return what the fused model reaches with each modality while all others are absent."""
    values: dict[str, dict[str, float]] = {}
    for name in primary_metrics:
        values[name] = {modality: measured.subsets["absent", (modality,)][name] for modality in modalities}
    return UnimodalMetrics(OWN_CEILINGS, values)


def _group_by_fill(measured: _Measurements) -> dict[str, list[SubsetMetrics]]:
    """Return the metrics of the subsets by fill policy."""
    by_fill: dict[str, list[SubsetMetrics]] = {fill: [] for fill in contribution.FILLS}
    for (fill, subset), metrics in measured.subsets.items():
        by_fill[fill].append({"present": list(subset), "metrics": metrics})
    return by_fill


def _shapley_values(
    measured: _Measurements, constant: Metrics, modalities: Sequence[str], primary_metrics: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:  # by primary metric, fill policy, modality
    """Return the Shapley values of every primary metric under every fill policy."""
    shapley: dict[str, dict[str, dict[str, float]]] = {}
    for name in primary_metrics:
        shapley[name] = {}
        for fill in contribution.FILLS:
            values: dict[Subset, float] = {(): constant[name]}
            for (subset_fill, subset), metrics in measured.subsets.items():
                if subset_fill == fill:
                    values[subset] = metrics[name]
            shapley[name][fill] = contribution.shapley_values(values, modalities)
    return shapley


def _synergies(fused: Metrics, unimodal: UnimodalMetrics, primary_metrics: Sequence[str]) -> dict[str, Synergy]:
    """Return the synergy of every primary metric."""
    synergies: dict[str, Synergy] = {}
    for name in primary_metrics:
        synergies[name] = contribution.compute_synergy(fused[name], unimodal.values[name], unimodal.source)
    return synergies


def _evaluate_classes(session: Session, split: str) -> dict[str, ClassEvaluation]:
    """Return calibration, confusion and curves of every task that has classes or labels."""
    by_task: dict[str, ClassEvaluation] = {}
    for name, task in session.data.tasks.items():
        predictions = read_predictions(session.folder, split, name)
        evaluation = calibration.evaluate_classes(task, predictions.scores, predictions.target)
        if evaluation is not None:
            by_task[name] = evaluation
    return by_task


def _evaluate_groups(session: Session, split: str, column: str) -> dict[str, SubgroupMetrics]:
    """Return the metrics of every task by the values of a column."""
    values = subgroups.read_column(session.config.dataset, column)
    by_task: dict[str, SubgroupMetrics] = {}
    for name, task in session.data.tasks.items():
        predictions = read_predictions(session.folder, split, name)
        groups = [values[row_id] for row_id in predictions.ids]
        by_task[name] = subgroups.compute_subgroup_metrics(task, predictions.scores, predictions.target, groups, column)
    return by_task
