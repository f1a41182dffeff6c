"""Evaluations of a run as tables, for `mmrun eval`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, Record
from mmrun.results.formatting import format_metric, format_number, pluralize
from mmrun.results.run_values import flatten
from mmrun.results.table import Style, Table

if TYPE_CHECKING:
    from mmrun.deploy.labelled import NewEvaluation
    from mmrun.evaluation import WhatIf
    from mmrun.evaluation.conditions import Variant
    from mmrun.evaluation.zero_shot import ZeroShot
    from mmrun.results.evaluation_schema import (
        EncoderDrift,
        Evaluation,
        ModalityRobustness,
        NoiseCurve,
        Robustness,
        SubgroupMetrics,
    )


def describe_conditions(conditions: Sequence["WhatIf"]) -> Answer:
    """Show the metrics under several conditions, a column each.

    Args:
        conditions: the first one is the unchanged input.
    """
    columns = ["unchanged", *(_describe_condition(condition["given"]) for condition in conditions[1:])]
    rows = []
    for name in conditions[0]["metrics"]:
        rows.append([name, *(format_number(condition["metrics"].get(name)) for condition in conditions)])
    records: list[Record] = []
    for column, condition in zip(columns, conditions, strict=True):
        records.append({"condition": column, **condition["metrics"]})
    return Answer([Table("", ["metric", *columns], rows)], list(conditions), records)


def _describe_condition(variants: Mapping[str, "Variant | None"]) -> str:
    """Describe a condition: "no audio, image gaussian 0.3"."""
    parts = [f"no {modality}" for modality, corruption in variants.items() if corruption is None]
    for modality, corruption in variants.items():
        if corruption is not None and corruption[0] != "clean":
            name, severity = corruption
            parts.append(f"{modality} {name} {severity:g}" if severity > 0 else f"{modality} {name}")
    return ", ".join(parts)


def describe_zero_shot(result: "ZeroShot") -> Answer:
    """Show the metrics of zero-shot classification.

    Args:
        result: metrics by modality, and how they were measured.
    """
    names = list(next(iter(result["metrics"].values())))
    rows = []
    for modality, metrics in result["metrics"].items():
        rows.append([modality, *(format_number(metrics[name]) for name in names)])
    records = [{"modality": modality, **metrics} for modality, metrics in result["metrics"].items()]
    return Answer([Table("", ["modality", *names], rows)], result, records)


def describe_file(evaluation: "NewEvaluation") -> Answer:
    """Show how the rows of another file were predicted: metrics, and those of each class."""
    parts: list[Table | str] = [f"{evaluation['run']}: {evaluation['rows']} rows of {evaluation['file']}"]
    records: list[Record] = []
    for name, result in evaluation["tasks"].items():
        metrics = [[metric, format_metric(metric, value)] for metric, value in result["metrics"].items()]
        caption = f"{name}: {pluralize(result['rows'], 'row')} with this target"
        parts.append(Table(caption, ["metric", "value"], metrics))
        columns = list(next(iter(result["per_class"].values()), {}))
        rows = []
        for label, values in result["per_class"].items():
            rows.append([label, *(format_metric(column, values[column]) for column in columns)])
        parts.append(Table("", [name, *columns], rows))
        records.append({"target": name, "rows": result["rows"], **result["metrics"]})
    return Answer(parts, evaluation, records)


def describe_evaluation(evaluation: "Evaluation", document: Mapping[str, object]) -> Answer:
    """Show an evaluation: for each primary metric, missing modalities, contribution and robustness; then subgroups.

    Args:
        evaluation: of a run.
        document: what evaluation.json holds now.
    """
    parts: list[Table | str] = []
    for metric in evaluation["primary_metrics"]:
        parts.append(f"{evaluation['run']}: {metric} on {evaluation['rows']} {evaluation['split']} rows")
        parts.append(_build_missing(evaluation, metric))
        parts += _build_contribution(evaluation, metric)
        if "robustness" in evaluation:
            parts.append(_build_robustness(evaluation["robustness"], metric))
    if evaluation.get("drift"):
        parts.append(_build_drift(evaluation["drift"]))
    for task, subgroups in evaluation.get("groups", {}).items():
        parts.append(_build_subgroups(task, subgroups))
    records = [{"key": key, "value": value} for key, value in flatten(document)]
    return Answer(parts, document, records)


def _build_missing(evaluation: "Evaluation", metric: str) -> Table:
    """Show the metric for each subset of the modalities, a column per fill policy."""
    by_fill = evaluation["missing"]
    rows = [["none", *[format_number(evaluation["constant"][metric])] * len(by_fill)]]
    for subsets in zip(*by_fill.values(), strict=True):  # the same subset under each policy
        rows.append([" ".join(subsets[0]["present"]), *(format_number(s["metrics"][metric]) for s in subsets)])
    return Table("", ["present", *(f"others {fill}" for fill in by_fill)], rows)


def _build_contribution(evaluation: "Evaluation", metric: str) -> list[Table | str]:
    synergy = evaluation["synergy"][metric]
    alone, best = synergy["alone"], synergy["best"]
    rows = []
    for modality, value in evaluation["shapley"][metric]["absent"].items():
        rows.append([modality, format_number(value), format_number(alone[modality])])
    verdict = (
        f"fusion {format_number(synergy['fused'])}, {best} alone {format_number(alone[best])}: "
        f"synergy gap {synergy['gap']:+.4f} (alone: {synergy['ceilings']})"
    )
    return [Table("", ["modality", "Shapley", "alone"], rows), verdict]


def _build_robustness(robustness: "Robustness", metric: str) -> Table:
    rows = []
    for modality, by_corruption in robustness["metrics"][metric].items():
        for corruption, curve in by_corruption["curves"].items():
            values = [format_number(value) for value in curve["fused"]]
            rows.append([modality, corruption, *values, *_format_robustness(curve)])
        if len(by_corruption["curves"]) > 1:
            blanks = [""] * len(robustness["severities"])
            rows.append([modality, "mean", *blanks, *_format_robustness(by_corruption)])
    severities = [f"{severity:g}" for severity in robustness["severities"]]
    return Table("", ["noise in", "corruption", *severities, "relative", "effective"], rows, 2)


def _format_robustness(robustness: "NoiseCurve | ModalityRobustness") -> list[str]:
    return [format_number(robustness["relative"]), f"{robustness['effective']:+.4f}"]


def _build_drift(drift: Mapping[str, "EncoderDrift"]) -> Table:
    tasks = list(next(iter(drift.values()))["probe"])
    header = ["encoder", "since the end of", "CKA"]
    for task in tasks:
        header += [f"{task}: probe before", f"{task}: probe after"]
    rows = []
    for modality, encoder_drift in drift.items():
        row = [modality, encoder_drift["after_stage"], format_number(encoder_drift["cka"])]
        for task in tasks:
            probe = encoder_drift["probe"][task]
            row += [format_number(probe["before"]), format_number(probe["after"])]
        rows.append(row)
    return Table("", header, rows, 2)


def _build_subgroups(task: str, subgroups: "SubgroupMetrics") -> Table:
    metric = subgroups["primary_metric"]
    rows, styles = [], dict[tuple[int, int], Style]()
    for number, (name, metrics) in enumerate(subgroups["groups"].items()):
        if name == subgroups["worst"]:
            styles[number, 2] = "failed"
        mark = "worst" if name == subgroups["worst"] else ""
        rows.append([name or "(empty)", str(metrics["rows"]), format_number(metrics.get(metric)), mark])
    return Table("", [f"{subgroups['column']} ({task})", "rows", metric, ""], rows, styles=styles)
