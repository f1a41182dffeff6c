"""Reads what `mmrun eval` wrote to run folders, evaluation.json."""

from collections.abc import Iterable
from typing import Any, cast

from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.files import check_layout, read_json
from mmrun.results.folder import RunFolder
from mmrun.results.schema import RunRecord

SCHEMA = 2  # of evaluation.json; an older one counts as missing
OWN_CEILINGS = "this run, the other modalities absent"  # where no unimodal run gives what each modality reaches alone


def read_evaluation(run: RunRecord, split: str) -> Evaluation | None:
    """Read the evaluation of a split of a run.

    Args:
        run: a finished run.
        split: val or test.

    Returns:
        What evaluation.json holds; None where there is none, or one of another split, layout or version of the metrics.
    """
    file = RunFolder(run["folder"]).evaluation_file
    if not file.exists():
        return None
    content = read_json(file, dict[str, Any])
    is_current = (content.get("schema"), content.get("metric_version")) == (SCHEMA, run["metric_version"])
    if not is_current or content.get("split") != split:
        return None
    check_layout(file, content, Evaluation)
    return cast(Evaluation, content)


def check_evaluation(run: RunRecord) -> None:
    """Check that an evaluation can be read, whatever its split.

    Raises:
        DataError: its evaluation.json is damaged.
    """
    file = RunFolder(run["folder"]).evaluation_file
    if file.exists():
        split = read_json(file, dict[str, Any]).get("split")
        read_evaluation(run, str(split))


def find_unevaluated(runs: Iterable[RunRecord], split: str) -> list[RunRecord]:
    """Return the runs with a fused head that were not evaluated on a split, or not under noise.

    Args:
        runs: finished runs.
        split: val or test.
    """
    unevaluated = []
    for run in runs:
        if run["primary_head"] != "fused":
            continue
        evaluation = read_evaluation(run, split)
        if evaluation is None or "robustness" not in evaluation:
            unevaluated.append(run)
    return unevaluated
