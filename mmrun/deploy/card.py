"""The model card of a run: what it is, on what it was trained, how good it is, and what nobody has tested."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmrun.deploy import card_limits
from mmrun.deploy.card_metrics import Intervals, compute_intervals
from mmrun.deploy.pack import check_complete
from mmrun.deploy.share_files import clean_config
from mmrun.errors import ConfigError
from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.evaluations import read_evaluation
from mmrun.results.folder import RunFolder
from mmrun.results.formats import escape_markdown, to_markdown
from mmrun.results.formatting import (
    format_count,
    format_duration,
    format_interval,
    format_metric,
    format_number,
    format_size,
)
from mmrun.results.index import find_primary_metric
from mmrun.results.schema import Config, Environment, FittedRecord, FittedTask, RunMetrics
from mmrun.results.selection import read_record
from mmrun.results.table import Table

LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")  # an identifier of the hub: mit, apache-2.0, cc-by-4.0
MAX_ROWS = 30  # of a table
MAX_NAMES = 20  # of classes in a sentence
LIBRARIES = ("mmrun", "torch", "transformers", "timm", "numpy")  # whose versions the card names
UNKNOWN_ABOUT_DATA = (
    "The run does not record where the rows come from, who collected and labelled them, whether they contain personal "
    "data, or under which license they are."
)


@dataclass(frozen=True)
class CardSource:
    """What a card is written from.

    Attributes:
        name: of the run.
        metrics: what metrics.json holds.
        config: without what tells where it was trained.
        fitted: modalities and targets.
        environment: of the first start.
        evaluation: of the test rows by `mmrun eval`; None without one.
        intervals: of the test metrics.
        verdicts: what a comparison says of the group of the run, a sentence each; None: there was no comparison.
        license: identifier of the hub; None: none is given.
        address: hf://USER/NAME where the run is to be downloaded; None: not known.
    """

    name: str
    metrics: RunMetrics
    config: Config
    fitted: FittedRecord
    environment: Environment
    evaluation: Evaluation | None
    intervals: Intervals
    verdicts: Sequence[str] | None
    license: str | None
    address: str | None


def read_source(
    folder: RunFolder, license: str | None = None, evidence: Sequence[Path] = (), address: str | None = None
) -> CardSource:
    """Read what a card is written from.

    Args:
        folder: of a finished run.
        license: identifier of the hub.
        evidence: folders with the runs that the run is compared with; none: no comparison.
        address: hf://USER/NAME.

    Raises:
        ConfigError: the run is not finished, is not among the compared ones, or the license is no identifier.
        DamagedError: a file of the run is not what was written.
    """
    if license is not None and not LICENSE.fullmatch(license):
        raise ConfigError(f"--license {license}: no identifier of a license; mit, apache-2.0, cc-by-4.0 are some")
    check_complete(folder)
    return CardSource(
        name=folder.name,
        metrics=folder.read_metrics(),
        config=clean_config(folder.read_config()),
        fitted=folder.read_fitted(),
        environment=folder.read_environment(),
        evaluation=read_evaluation(read_record(folder), "test"),
        intervals=compute_intervals(folder),
        verdicts=_list_verdicts(folder, evidence) if evidence else None,
        license=license,
        address=address,
    )


def write_card(source: CardSource) -> str:
    """Write a model card as the README.md of a repository on a hub.

    Returns:
        YAML metadata and Markdown.
    """
    metadata = yaml.safe_dump(build_metadata(source), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{metadata}---", f"# {escape_markdown(source.name)}", _describe(source)]
    for title, write in SECTIONS.items():
        text = write(source)
        if text:
            parts.append(f"## {title}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def build_metadata(source: CardSource) -> dict[str, Any]:
    """Return what a hub reads of a card: tags, and the test metrics in the layout of `model-index`."""
    kinds = [modality["kind"] for modality in source.fitted["modalities"].values()]
    tasks = [task["kind"] for task in source.fitted["tasks"].values()]
    choices = source.metrics["choices"]
    tags = ["mmrun", "multimodal", *kinds, *tasks, *(choices[key] for key in ("strategy", "fusion") if key in choices)]
    metadata: dict[str, Any] = {"library_name": "mmrun", "tags": list(dict.fromkeys(tags))}
    if source.license is not None:
        metadata["license"] = source.license
    values = []
    for name, value in source.metrics["metrics"].get("test", {}).items():
        if value is not None and "/" not in name:
            values.append({"type": name, "value": round(value, 6)})
    if values:
        dataset = " ".join(source.metrics["dataset"]["name"].split())
        result = {
            "task": {"type": f"{tasks[0]}", "name": f"predicting {', '.join(source.fitted['tasks'])}"},
            "dataset": {"type": dataset, "name": dataset, "split": "test"},
            "metrics": values,
        }
        metadata["metrics"] = [each["type"] for each in values]
        metadata["model-index"] = [{"name": " ".join(source.name.split()), "results": [result]}]
    return metadata


# ----------------------------------------------------------------------------------------------------------- sections


def _describe(source: CardSource) -> str:
    inputs = []
    for name, modality in source.fitted["modalities"].items():
        columns = [column for column in modality["columns"] if column != name]
        inputs.append(f"{_code(name)} ({modality['kind']}{_list_columns(columns)})")
    targets = [_describe_target(name, task) for name, task in source.fitted["tasks"].items()]
    return (
        f"A model that predicts {_join(targets)} from {_join(inputs)}. It was trained with mmrun, strategy "
        f"{_code(source.metrics['choices'].get('strategy', 'of its own'))}. This card was written from the files of "
        "the run. It also says what was not recorded and not tested."
    )


def _list_columns(columns: Sequence[str]) -> str:
    if not columns:
        return ""
    more = f" and {len(columns) - MAX_NAMES} more" if len(columns) > MAX_NAMES else ""
    return f": columns {', '.join(map(_code, columns[:MAX_NAMES]))}{more}"


def _describe_target(name: str, task: FittedTask) -> str:
    classes = task["arguments"].get("classes") or task["arguments"].get("labels")
    if not isinstance(classes, list):
        return f"{_code(name)} ({task['kind']})"
    more = f" and {len(classes) - MAX_NAMES} more" if len(classes) > MAX_NAMES else ""
    return f"{_code(name)} ({task['kind']}: {', '.join(_code(str(each)) for each in classes[:MAX_NAMES])}{more})"


def _describe_model(source: CardSource) -> str:
    choices, cost = source.metrics["choices"], source.metrics["cost"]
    rows = []
    for modality in source.fitted["modalities"]:
        option = choices.get(f"encoder.{modality}", "a class of its own")
        rows.append([f"encoder of {modality}", option + _name_pretrained(source.config["encoder"][modality])])
    rows += [["fusion", choices.get("fusion", "a class of its own")], ["head", str(source.metrics["primary_head"])]]
    rows.append(["parameters", format_count(cost["total_parameters"])])
    rows.append(["of which trained", format_count(cost["trainable_parameters"])])
    return _table(["part", "what it is"], rows, 2)


def _name_pretrained(node: Mapping[str, Any]) -> str:
    names = [str(node[key]) for key in ("model", "pretrained") if node.get(key) not in (None, False, True)]
    names += ["pretrained"] if node.get("pretrained") is True else []
    return f" ({', '.join(names)})" if names else ""


def _describe_data(source: CardSource) -> str:
    dataset = source.metrics["dataset"]
    rows = [["name", dataset["name"]]]
    if isinstance(source.config["dataset"].get("path"), str):
        rows.append(["read from", source.config["dataset"]["path"]])
    rows += [[f"{split} rows", f"{number:,}"] for split, number in dataset["rows"].items()]
    if "labelled_rows" in dataset:
        rows.append(["labelled training rows", f"{dataset['labelled_rows']:,}"])
    if dataset["skipped"]:
        rows.append(["bad rows left out", f"{dataset['skipped']:,}"])
    rows += [["fingerprint of the content", dataset["fingerprint"]], ["fingerprint of the split", dataset["split"]]]
    return f"{_table(['data set', ''], rows, 2)}\n\n{UNKNOWN_ABOUT_DATA}"


def _describe_cost(source: CardSource) -> str:
    cost = source.metrics["cost"]
    [(unit, amount)] = source.metrics["budget"].items()
    rows = []
    for name, stage in [*cost["stages"].items(), ("all", cost)]:
        times = [f"{stage['epochs']:.3g}", f"{stage['steps']:,}", format_duration(stage["seconds"])]
        rows.append([name, *times, format_count(stage["flops"]), format_size(stage["peak_memory"])])
    table = _table(["stage", "epochs", "steps", "time", "FLOPs", "peak memory"], rows)
    return f"Budget: {amount:g} {unit}, over all stages. Seed: {source.metrics['seed']}.\n\n{table}"


def _describe_metrics(source: CardSource) -> str:
    by_split = source.metrics["metrics"]
    test, val = by_split.get("test", {}), by_split.get("val", {})
    rows = []
    for name in [name for name in {**test, **val} if "/" not in name]:
        interval = format_interval(*source.intervals.get(name, (None, None)))
        rows.append([name, format_number(test.get(name)), interval, format_number(val.get(name))])
    if not rows:
        return "The run has no metrics."
    text = (
        "Intervals are 95 % bootstrap intervals over the test rows of this one run. They do not say how much another "
        "seed would change. Validation metrics are optimistic where they chose the weights."
    )
    parts = [_table(["metric", "test", "95 % interval", "val"], rows), text]
    for task, classes in source.metrics["per_class"].get("test", {}).items():
        parts.append(_build_per_class(task, classes))
    return "\n\n".join(parts)


def _build_per_class(task: str, classes: Mapping[str, Mapping[str, float | None]]) -> str:
    names = list(next(iter(classes.values()), {}))
    if not names:
        return ""
    rows = []
    for label, values in list(classes.items())[:MAX_ROWS]:
        rows.append([label, *(format_metric(name, values.get(name)) for name in names)])
    more = f"\n\n{len(classes) - MAX_ROWS} more are in metrics.json." if len(classes) > MAX_ROWS else ""
    return f"{_table([f'{task} (test)', *names], rows)}{more}"


def _describe_subgroups(source: CardSource) -> str:
    groups = {} if source.evaluation is None else source.evaluation.get("groups", {})
    parts = []
    for task, subgroups in groups.items():
        metric = subgroups["primary_metric"]
        rows = []
        for value, metrics in list(subgroups["groups"].items())[:MAX_ROWS]:
            rows.append([value or "(empty)", f"{metrics['rows']:g}", format_number(metrics.get(metric))])
        parts.append(_table([f"{subgroups['column']} ({task})", "test rows", metric], rows))
        if subgroups["worst"] is not None:
            parts.append(f"Worst: {_code(subgroups['worst'])}.")
    return "\n\n".join(parts) or "Not measured for any subgroup of the rows."


def _describe_calibration(source: CardSource) -> str:
    test = source.metrics["metrics"].get("test", {})
    errors = {name: value for name, value in test.items() if name.endswith("calibration_error") and value is not None}
    parts = []
    for name, value in errors.items():
        interval = source.intervals.get(name)
        bounds = "" if interval is None else f" (95 % interval {format_interval(*interval)})"
        parts.append(f"{name} is {format_number(value)}{bounds}: the mean distance of confidence and accuracy.")
    for task, classes in ({} if source.evaluation is None else source.evaluation["classes"]).items():
        reliability = classes["reliability"]
        rows = []
        for upper, count, confidence, accuracy in zip(
            *(reliability[key] for key in ("upper", "count", "confidence", "accuracy")), strict=True
        ):
            if count:
                rows.append([f"up to {upper:.2f}", f"{count}", format_number(confidence), format_number(accuracy)])
        parts.append(_table([f"confidence ({task})", "rows", "mean confidence", "accuracy"], rows))
    return "\n\n".join(parts)


def _describe_missing(source: CardSource) -> str:
    if source.evaluation is None or not source.evaluation["missing"]:
        return ""
    evaluation = source.evaluation
    fill = next(iter(evaluation["missing"]))
    names = evaluation["primary_metrics"]
    rows = []
    for subset in evaluation["missing"][fill][:MAX_ROWS]:
        present = " + ".join(subset["present"]) or "none"
        rows.append([present, *(format_number(subset["metrics"].get(name)) for name in names)])
    return _table(["modalities present", *names], rows)


def _describe_evidence(source: CardSource) -> str:
    if source.verdicts is None:
        return "The run was not compared with others when this card was written."
    return "\n".join(f"- {escape_markdown(text)}" for text in source.verdicts)


def _describe_limits(source: CardSource) -> str:
    limits = card_limits.list_limits(source.metrics, source.config, source.fitted, source.evaluation, source.intervals)
    return "\n".join(f"- {escape_markdown(limit)}" for limit in limits)


def _describe_use(source: CardSource) -> str:
    address = source.address or "hf://USER/NAME"
    columns = []
    for name, modality in source.fitted["modalities"].items():
        columns += modality["columns"] or [name]
    return (
        f"```\nmmrun pull {address}\n"
        f"mmrun predict outputs/pulled/{source.name} rows.csv -o predictions.csv\n```\n\n"
        f'```python\nimport mmrun\n\nrun = mmrun.load("{address}")\nrun.predict("rows.csv")\n```\n\n'
        f"The file has the columns {', '.join(map(_code, columns[:MAX_NAMES]))}"
        f"{' and more, see fitted.json' if len(columns) > MAX_NAMES else ''}. A column or cell may be missing: the "
        "prediction then uses the other modalities. Nothing in this repository is code, and nothing is unpickled."
    )


def _describe_environment(source: CardSource) -> str:
    environment = source.environment
    versions = environment.get("versions", {})
    rows = [[name, str(versions[name])] for name in LIBRARIES if versions.get(name) is not None]
    rows += [[name, str(environment[name])] for name in ("python", "platform", "device") if name in environment]
    rows += [["precision", str(source.config["trainer"]["precision"])], ["seed", str(source.metrics["seed"])]]
    return _table(["environment", ""], rows, 2)


SECTIONS: dict[str, Callable[[CardSource], str]] = {  # in the order of the card
    "Model": _describe_model,
    "Data": _describe_data,
    "Budget and cost": _describe_cost,
    "Metrics": _describe_metrics,
    "Subgroups": _describe_subgroups,
    "Calibration": _describe_calibration,
    "Missing modalities": _describe_missing,
    "Evidence": _describe_evidence,
    "Limits": _describe_limits,
    "How to use it": _describe_use,
    "Environment": _describe_environment,
}


# ----------------------------------------------------------------------------------------------------------- evidence


def _list_verdicts(folder: RunFolder, evidence: Sequence[Path]) -> list[str]:
    """Return the answers of a report on the runs that are compared with a run, and their caveats."""
    from mmrun.results.compare import Question
    from mmrun.results.report.content import build_report
    from mmrun.results.report.findings import compute_findings

    metrics = folder.read_metrics()
    metric, _ = find_primary_metric(metrics)
    findings = compute_findings(evidence, Question(metric="" if metric is None else f"test/{metric}"))
    if metrics["run"] not in [run["run"] for run in findings.runs]:
        raise ConfigError(f"--evidence {' '.join(map(str, evidence))}: does not hold the run {folder.name}")
    report = build_report(findings)
    caveats = [f"Note: {caveat}" for caveat in report.caveats if not any(str(path) in caveat for path in evidence)]
    return [f"{findings.question.metric}: {answer.text}" for answer in report.answers] + caveats


# -------------------------------------------------------------------------------------------------------- formatting


def _table(header: list[str], rows: list[list[str]], left: int = 1) -> str:
    return to_markdown(Table("", header, rows, left)).lstrip("\n")


def _code(text: str) -> str:
    """Return a name as code; it cannot end the code."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"


def _join(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
