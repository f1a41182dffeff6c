"""What `mmrun eval` left in run folders: read for reports, and missed where it is not there."""

from collections.abc import Iterable
from typing import Any

from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from mmrun.results.selection import Metrics

SCHEMA = 2  # of evaluation.json; an older one counts as missing
OWN_CEILINGS = "this run, the other modalities absent"  # where no other run says what each modality reaches alone


def read(run: Metrics, split: str) -> dict[str, Any] | None:
    """Read what was found about a split of a run; None where that was not asked, or by other metrics."""
    file = RunFolder(run["folder"]).evaluation_file
    if not file.exists():
        return None
    found: dict[str, Any] = read_json(file)
    same = found["schema"] == SCHEMA and found["split"] == split and found["metric_version"] == run["metric_version"]
    return found if same else None


def lacking(runs: Iterable[Metrics], split: str) -> list[Metrics]:
    """Return the runs with a fused model that were not evaluated, or not under noise."""
    found = []
    for run in runs:
        if run["primary_head"] == "fused":
            said = read(run, split)
            if said is None or "robustness" not in said:
                found.append(run)
    return found
