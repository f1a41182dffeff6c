"""What `mmrun data check` prints of a file before its target is known, and the command that would train on it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrun.cli.answer import Answer, Command, Part
from mmrun.results.table import Table

if TYPE_CHECKING:
    from mmrun.data.checks.survey import Survey

MAX_TARGETS = 5  # likely ones that are printed


def survey_file(node: Mapping[str, Any]) -> "Survey":
    """Read the first rows of a file, and guess what its columns are.

    Args:
        node: of dataset=manifest.

    Raises:
        DataError: the file cannot be read.
    """
    from mmrun.data.checks.survey import survey
    from mmrun.data.folders.recognize import open_path
    from mmrun.data.sheets.chunks import SAMPLE_ROWS
    from mmrun.data.sheets.readings import apply_readings, infer_readings

    opened = open_path(node["path"], limit=SAMPLE_ROWS, encoding=node["encoding"])
    raw = {node["split"], node["group"], node["id"]}
    surveyed = survey(apply_readings(opened.sheet, infer_readings(opened.sheet, node["read"], raw)))
    return surveyed._replace(notes=[*opened.notes, *surveyed.notes])


def describe_survey(survey: "Survey", node: Mapping[str, Any]) -> Answer:
    """Show the columns, the likely targets, and what to type next.

    Args:
        survey: of the file.
        node: of dataset=manifest.
    """
    targets = survey.targets[:MAX_TARGETS] or ["COLUMN"]
    overrides = [f"target={targets[0]}", *(f"group={group}" for group in survey.groups[:1])]
    check_command = shlex.join(["mmrun", "data", "check", node["path"], *overrides])
    commands = {"check": check_command, "train": train_command(node["path"], overrides)}
    columns = [column._asdict() for column in survey.columns]
    rows = []
    for column in survey.columns:
        details = [str(column.num_different), f"{column.empty:.1%}", column.task or "-"]
        rows.append([column.name, column.kind or "-", column.reason, *details])
    header = ["column", "kind", "inferred from", "different", "empty", "as a target"]
    guesses = [f"likely targets: {', '.join(targets) if survey.targets else 'none'}"]
    guesses += survey.notes
    if survey.groups:
        guesses.append(f"rows that may belong together, and then stay in one split: {', '.join(survey.groups)}")
    parts: list[Part] = [
        f"no column is called '{node['target']}', so the target has to be named",
        Table("", header, rows, 3, keys=1),
        "\n".join(guesses),
        Command("to check", commands["check"]),
        Command("to train", commands["train"]),
    ]
    document = {"columns": columns, "targets": survey.targets, "groups": survey.groups, **commands}
    return Answer(parts, document, columns)


def train_command(file: str, overrides: Sequence[str]) -> str:
    """Return the command that trains on a file.

    Args:
        file: as typed.
        overrides: of the data set, with or without "dataset.".
    """
    from mmrun.dataset_path import format_override  # imports hydra

    words = [f"dataset.{override.removeprefix('dataset.')}" for override in overrides]
    return shlex.join(["mmrun", "train", format_override(file), *words])
