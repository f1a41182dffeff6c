"""What a model card warns of: the limits of a run, as far as its files show them."""

from collections.abc import Iterator, Mapping

from mmrun.deploy.card_metrics import Intervals
from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.formatting import pluralize
from mmrun.results.index import find_primary_metric
from mmrun.results.schema import Config, FittedRecord, RunMetrics

FEW_TEST_ROWS = 200
WIDE_INTERVAL = 0.1  # of a metric between 0 and 1
FEW_CLASS_ROWS = 10
MAX_NAMES = 10  # of classes in one line


def list_limits(
    metrics: RunMetrics,
    config: Config,
    fitted: FittedRecord,
    evaluation: Evaluation | None,
    intervals: Intervals,
) -> list[str]:
    """List the limits of a run.

    Args:
        metrics: what metrics.json holds.
        config: of the run.
        fitted: modalities and targets.
        evaluation: of the test rows; None: `mmrun eval` was not run.
        intervals: of the test metrics.

    Returns:
        A line each.
    """
    return [
        *_list_of_data(metrics, fitted),
        *_list_of_metrics(metrics, intervals),
        *_list_of_classes(metrics),
        *_list_of_modalities(fitted, evaluation),
        *_list_of_training(metrics, config),
    ]


def _list_of_data(metrics: RunMetrics, fitted: FittedRecord) -> Iterator[str]:
    dataset = metrics["dataset"]
    yield (
        "The metrics hold for rows like those of the data set. Rows of another source, time or population were not "
        "tested; measure them with mmrun eval --data."
    )
    if dataset["labelled"] < 1:
        yield f"Only {dataset['labelled']:.0%} of the training rows had their labels."
    if dataset["skipped"]:
        yield f"{pluralize(dataset['skipped'], 'bad row')} were left out of the data; such rows cannot be predicted."
    if any(modality["kind"] in ("text", "tabular") for modality in fitted["modalities"].values()):
        yield (
            "fitted.json holds what was fitted to the training rows: words and parts of words, categories, ranges, "
            "names of classes. Whoever reads it learns these of the training data."
        )


def _list_of_metrics(metrics: RunMetrics, intervals: Intervals) -> Iterator[str]:
    rows = metrics["dataset"]["rows"].get("test", 0)
    primary, _ = find_primary_metric(metrics)
    if rows == 0 or primary is None:
        yield "There are no test metrics: nothing is known about rows that the training did not see."
        return
    if rows < FEW_TEST_ROWS:
        yield f"The test set is small: {pluralize(rows, 'row')}."
    if primary not in intervals:
        yield f"There is no interval for {primary}."
    else:
        low, high = intervals[primary]
        if high - low > WIDE_INTERVAL:
            yield f"{primary} is uncertain: its interval spans {high - low:.2g}."
    yield f"It is one run with one seed ({metrics['seed']}); training again with another one gives other metrics."


def _list_of_classes(metrics: RunMetrics) -> Iterator[str]:
    for task, classes in metrics["per_class"].get("test", {}).items():
        few = [name for name, values in classes.items() if (values.get("count") or 0) < FEW_CLASS_ROWS]
        never = [name for name, values in classes.items() if values.get("count") and values.get("recall") == 0]
        if few and "count" in next(iter(classes.values())):
            yield f"{task}: less than {FEW_CLASS_ROWS} test rows of {_list_names(few)}."
        if never:
            yield f"{task}: never predicted correctly in the test rows: {_list_names(never)}."


def _list_of_modalities(fitted: FittedRecord, evaluation: Evaluation | None) -> Iterator[str]:
    if evaluation is None:
        if len(fitted["modalities"]) > 1:
            yield "It was not tested how the model predicts without one of its modalities, or with noise."
        return
    if not evaluation["saw_missing"] and len(evaluation["modalities"]) > 1:
        yield "No training row lacked a modality: predictions without one are less reliable."
    if "robustness" not in evaluation:
        yield "It was not tested how the model predicts under noise."
    for metric, synergy in evaluation["synergy"].items():
        if synergy["flagged"]:
            yield f"{metric}: the fusion gains nothing over {synergy['best']} alone."


def _list_of_training(metrics: RunMetrics, config: Config) -> Iterator[str]:
    pretrained = {}
    for modality, node in config["encoder"].items():
        name = node.get("model") or node.get("pretrained") if isinstance(node, Mapping) else None
        if name:
            pretrained[modality] = name if isinstance(name, str) else "pretrained weights"
    if pretrained:
        names = ", ".join(f"{name} ({modality})" for modality, name in pretrained.items())
        yield f"Encoders start from {names}: their licenses, and the biases of the data they saw, come with them."
    if any(stage["reused"] for stage in metrics["cost"]["stages"].values()):
        yield "Stages of other runs were reused; the cost counts them as if they had been trained for this run."
    yield "No threshold of the scores was chosen for any use."


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{', '.join(names[:MAX_NAMES])}{more}"
