"""What a verb answers, printed in the format that the user chose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmrun.cli.output import echo, is_quiet
from mmrun.cli.table import print_command, print_table, print_text
from mmrun.results.table import Table

Record = Mapping[str, object]  # a row of CSV


@dataclass(frozen=True)
class Command:
    """A command to type.

    Attributes:
        label: what it does.
        text: as one types it.
    """

    label: str
    text: str


Part = Table | str | Command


@dataclass(frozen=True)
class Answer:
    """The answer of a verb.

    Attributes:
        parts: for people: tables, text between them, and commands.
        document: for programs: JSON values, with everything in it.
        records: for spreadsheets: raw values by column. A record may lack columns that others have.
        columns: that come first, and stand in the header even without records.
        written: the file or folder that the verb wrote: all that people see with `--quiet`.
    """

    parts: Sequence[Part]
    document: object
    records: Sequence[Record]
    columns: Sequence[str] = ()
    written: Path | None = None


def print_answer(answer: Answer, format: str) -> None:
    """Print an answer to stdout.

    Args:
        answer: any answer.
        format: table | json | csv | md.
    """
    if format == "json":
        print_json(answer.document)
    elif format == "csv":
        _print_csv(answer)
    elif format == "md":
        _print_markdown(answer.parts)
    elif is_quiet() and answer.written is not None:
        echo(answer.written)
    else:
        print_parts(answer.parts)


def print_json(document: object) -> None:
    """Print JSON values to stdout; numbers that are not finite, which JSON does not have, become null.

    Args:
        document: see `to_json_value`.
    """
    from mmrun.results.files import to_json_value

    echo(json.dumps(to_json_value(document), indent=1, allow_nan=False))


def print_parts(parts: Sequence[Part]) -> None:
    """Print tables and text to stdout, an empty line between them.

    Args:
        parts: in order.
    """
    for place, part in enumerate(parts):
        if place > 0:
            echo()
        if isinstance(part, Table):
            print_table(part)
        elif isinstance(part, Command):
            print_command(f"{part.label}: ", part.text)
        else:
            print_text(part)


def _print_csv(answer: Answer) -> None:
    from mmrun.results.csv import write_csv

    columns = dict.fromkeys(answer.columns)
    for record in answer.records:
        columns |= dict.fromkeys(record)
    if columns:
        rows = [[_to_cell(record.get(column)) for column in columns] for record in answer.records]
        echo(write_csv(columns, rows), end="")


def _to_cell(value: object) -> object:
    """Return a value as a cell of CSV: a list as one types it."""
    from mmrun.results.run_values import format_value

    return format_value(value) if isinstance(value, list | tuple | Mapping) else value


def _print_markdown(parts: Sequence[Part]) -> None:
    from mmrun.results.formats import escape_markdown, to_markdown

    texts = []
    for part in parts:
        if isinstance(part, Table):
            texts.append(to_markdown(part).lstrip("\n"))
        elif isinstance(part, Command):
            texts.append(f"{part.label}:\n\n    {part.text}")
        else:
            texts.append("  \n".join(map(escape_markdown, part.split("\n"))))
    echo("\n\n".join(texts))
