"""Prints evaluations of a run as tables, for `mmrun eval`."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmrun.cli.output import echo
from mmrun.cli.table import Table, format_number, print_table

if TYPE_CHECKING:
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


def print_conditions(conditions: Sequence["WhatIf"]) -> None:
    """Print the metrics under several conditions, a column each.

    Args:
        conditions: the first one is the unchanged input.
    """
    columns = [_describe_condition(condition["given"]) for condition in conditions[1:]]
    rows = []
    for name in conditions[0]["metrics"]:
        rows.append([name, *(format_number(condition["metrics"].get(name)) for condition in conditions)])
    print_table(Table("", ["metric", "unchanged", *columns], rows))


def _describe_condition(given: Mapping[str, "Variant | None"]) -> str:
    """Describe a condition: "no audio, image gaussian 0.3"."""
    parts = [f"no {modality}" for modality, corruption in given.items() if corruption is None]
    for modality, corruption in given.items():
        if corruption is not None and corruption[0] != "clean":
            name, severity = corruption
            parts.append(f"{modality} {name} {severity:g}" if severity > 0 else f"{modality} {name}")
    return ", ".join(parts)


def print_zero_shot(result: "ZeroShot") -> None:
    """Print the metrics of zero-shot classification; the prompts go to stderr.

    Args:
        result: metrics by modality, and how they were measured.
    """
    names = list(next(iter(result["metrics"].values())))
    rows = []
    for modality, metrics in result["metrics"].items():
        rows.append([modality, *(format_number(metrics[name]) for name in names)])
    print_table(Table("", ["modality", *names], rows))
    prompts = ", ".join(result["prompts"])
    echo(f"{result['split']} rows, classified by the prompts {prompts} after {result['stage']}", file=sys.stderr)


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print an evaluation: for each primary metric, missing modalities, contribution and robustness; then subgroups.

    Args:
        evaluation: contents of evaluation.json.
    """
    for metric in evaluation["primary_metrics"]:
        echo(f"{evaluation['run']}: {metric} on {evaluation['rows']} {evaluation['split']} rows\n")
        _print_missing(evaluation, metric)
        _print_contribution(evaluation, metric)
        if "robustness" in evaluation:
            _print_robustness(evaluation["robustness"], metric)
    if evaluation.get("drift"):
        _print_drift(evaluation["drift"])
    for task, subgroups in evaluation.get("groups", {}).items():
        _print_subgroups(task, subgroups)


def _print_missing(evaluation: "Evaluation", metric: str) -> None:
    """Print the metric for each subset of the modalities, a column per fill policy."""
    by_fill = evaluation["missing"]
    rows = [["none", *[format_number(evaluation["constant"][metric])] * len(by_fill)]]
    for subsets in zip(*by_fill.values(), strict=True):  # the same subset under each policy
        rows.append([" ".join(subsets[0]["present"]), *(format_number(s["metrics"][metric]) for s in subsets)])
    print_table(Table("", ["present", *(f"others {fill}" for fill in by_fill)], rows))


def _print_contribution(evaluation: "Evaluation", metric: str) -> None:
    synergy = evaluation["synergy"][metric]
    alone, best = synergy["alone"], synergy["best"]
    rows = []
    for modality, value in evaluation["shapley"][metric]["absent"].items():
        rows.append([modality, format_number(value), format_number(alone[modality])])
    echo()
    print_table(Table("", ["modality", "Shapley", "alone"], rows))
    echo(
        f"\nfusion {format_number(synergy['fused'])}, {best} alone {format_number(alone[best])}: "
        f"synergy gap {synergy['gap']:+.4f} (alone: {synergy['ceilings']})"
    )


def _print_robustness(robustness: "Robustness", metric: str) -> None:
    rows = []
    for modality, of_modality in robustness["metrics"][metric].items():
        for corruption, curve in of_modality["curves"].items():
            values = [format_number(value) for value in curve["fused"]]
            rows.append([modality, corruption, *values, *_format_robustness(curve)])
        if len(of_modality["curves"]) > 1:
            blanks = [""] * len(robustness["severities"])
            rows.append([modality, "mean", *blanks, *_format_robustness(of_modality)])
    severities = [f"{severity:g}" for severity in robustness["severities"]]
    echo()
    print_table(Table("", ["noise in", "corruption", *severities, "relative", "effective"], rows, 2))


def _format_robustness(robustness: "NoiseCurve | ModalityRobustness") -> list[str]:
    return [format_number(robustness["relative"]), f"{robustness['effective']:+.4f}"]


def _print_drift(drift: Mapping[str, "EncoderDrift"]) -> None:
    tasks = list(next(iter(drift.values()))["probe"])
    header = ["encoder", "since the end of", "CKA"]
    for task in tasks:
        header += [f"{task}: probe before", f"{task}: probe after"]
    rows = []
    for modality, of_encoder in drift.items():
        row = [modality, of_encoder["after_stage"], format_number(of_encoder["cka"])]
        for task in tasks:
            probe = of_encoder["probe"][task]
            row += [format_number(probe["before"]), format_number(probe["after"])]
        rows.append(row)
    echo()
    print_table(Table("", header, rows, 2))


def _print_subgroups(task: str, subgroups: "SubgroupMetrics") -> None:
    metric = subgroups["primary_metric"]
    rows = []
    for name, metrics in subgroups["groups"].items():
        mark = "worst" if name == subgroups["worst"] else ""
        rows.append([name or "(empty)", str(metrics["rows"]), format_number(metrics.get(metric)), mark])
    echo()
    print_table(Table("", [f"{subgroups['column']} ({task})", "rows", metric, ""], rows))
