"""What `mmrun data check` prints of a file before its target is known, and the command that would train on it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrun.cli.output import echo

if TYPE_CHECKING:
    from mmrun.data.survey import Survey

MAX_TARGETS = 5  # likely ones that are printed


def survey_file(node: Mapping[str, Any]) -> "Survey":
    """Read the first rows of a file, and guess what its columns are.

    Args:
        node: of dataset=manifest.

    Raises:
        DataError: the file cannot be read.
    """
    from mmrun.data.sources.manifest import locate_file
    from mmrun.data.survey import survey
    from mmrun.data.table_file import SAMPLE_ROWS, read_sheet

    return survey(read_sheet(locate_file(node["path"]), limit=SAMPLE_ROWS, encoding=node["encoding"]))


def print_survey(survey: "Survey", node: Mapping[str, Any], format: str) -> None:
    """Print the columns, the likely targets, and what to type next.

    Args:
        survey: of the file.
        node: of dataset=manifest.
        format: table or json.
    """
    from mmrun.cli.table import Table, print_table

    targets = survey.targets[:MAX_TARGETS] or ["COLUMN"]
    overrides = [f"target={targets[0]}", *(f"group={group}" for group in survey.groups[:1])]
    check_command = shlex.join(["mmrun", "data", "check", node["path"], *overrides])
    if format == "json":
        columns = [column._asdict() for column in survey.columns]
        commands = {"check": check_command, "train": train_command(node["path"], overrides)}
        echo(json.dumps({"columns": columns, "targets": survey.targets, "groups": survey.groups, **commands}, indent=1))
        return
    echo(f"no column is called '{node['target']}', so the target has to be named\n")
    rows = []
    for column in survey.columns:
        details = [str(column.num_different), f"{column.empty:.1%}", column.task or "-"]
        rows.append([column.name, column.kind or "-", column.reason, *details])
    print_table(Table("", ["column", "kind", "inferred from", "different", "empty", "as a target"], rows, 3))
    echo(f"\nlikely targets: {', '.join(targets) if survey.targets else 'none'}")
    if survey.groups:
        echo(f"rows that may belong together, and then stay in one split: {', '.join(survey.groups)}")
    echo(f"\nto check: {check_command}")
    echo(f"to train: {train_command(node['path'], overrides)}")


def train_command(file: str, overrides: Sequence[str]) -> str:
    """Return the command that trains on a file.

    Args:
        file: as typed.
        overrides: of the data set, with or without "dataset.".
    """
    words = [f"dataset.{override.removeprefix('dataset.')}" for override in overrides]
    return shlex.join(["mmrun", "train", "dataset=manifest", f"dataset.path={file}", *words])
