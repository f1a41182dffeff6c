"""Reads what `mmrun eval` wrote to run folders, evaluation.json."""

from collections.abc import Iterable
from typing import cast

from mmrun.results.evaluation_schema import Evaluation
from mmrun.results.files import read_json
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
    evaluation = cast(Evaluation, read_json(file))
    current = evaluation["schema"] == SCHEMA and evaluation["metric_version"] == run["metric_version"]
    return evaluation if current and evaluation["split"] == split else None


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
