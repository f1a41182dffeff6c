"""mmrun data clean: a copy of a file without the rows that a check finds fault with, and a list of these rows."""

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, Command, Part, print_answer
from mmrun.cli.arguments import add_table_format, check_folder
from mmrun.cli.data_set import open_table, read_rows
from mmrun.cli.dataset_arguments import add_file, compose_node
from mmrun.cli.survey import train_command
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.results.table import Table

if TYPE_CHECKING:
    from mmrun.data.checks.clean import DroppedRow
    from mmrun.data.table import Table as DataTable

HELP = (
    "Write a copy of a file without rows that cannot be read, repeat others of their split, or equal rows of val or "
    "test; and OUT.dropped.csv, which lists them. The file itself stays as it is."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from mmrun.data.checks.finding import DROPPED_BY_DEFAULT, DROPPED_ON_REQUEST

    add_file(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="a .csv, .tsv, .jsonl or .parquet file to write"
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="KIND",
        help=f"leave out these rows, too: {', '.join(DROPPED_ON_REQUEST)}; may be repeated",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="KIND",
        help=f"keep these rows: {', '.join(DROPPED_BY_DEFAULT)}; may be repeated",
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Write the copy and the list, and print what was left out.

    Raises:
        ConfigError: an argument does not fit, or an output exists.
        DataError: the file cannot be read, or no row of a split would be left.
    """
    kinds = _choose_kinds(args.drop, args.keep)
    list_file = args.output.with_name(f"{args.output.stem}.dropped.csv")
    _check_outputs(args.output, list_file)
    node = compose_node(args.file, args.overrides)

    import numpy as np

    from mmrun.data.checks.audit import audit
    from mmrun.data.checks.clean import choose_dropped_rows, count_by_split, rebase_files
    from mmrun.data.sheets.write_rows import check_cells, write_rows
    from mmrun.results.csv import write_csv
    from mmrun.results.files import write_atomically

    table = open_table(node)
    sheet, rows = read_rows(node, table)
    findings = audit(table, sample_size=None, judges_labels="labels" in kinds).findings
    dropped = choose_dropped_rows(sheet, table, rows, findings, kinds)
    columns = rebase_files(sheet, table, rows, args.output.absolute().parent)
    kept_rows = np.setdiff1d(np.arange(len(sheet.lines)), list(dropped))
    suffix = args.output.suffix.lower()
    try:
        check_cells(columns, suffix)
    except DataError as error:
        raise DataError(f"-o {args.output}: {error}") from None
    text = write_csv(["row", "kind", "reason"], dropped.values())
    write_atomically(list_file, lambda path: path.write_text(text, "utf-8"))
    write_atomically(args.output, lambda path: write_rows(columns, kept_rows, path, suffix))
    counts = {
        "rows": count_by_split(table, np.ones(len(rows), dtype=bool)),
        "kept": count_by_split(table, np.isin(rows, kept_rows)),
    }
    command = train_command(str(args.output), _list_overrides(args.overrides, table, args.output))
    print_answer(_build_answer(list(dropped.values()), counts, args.output, list_file, command), args.format)
    return 0


def _choose_kinds(drop: Sequence[str], keep: Sequence[str]) -> set[str]:
    """Return the kinds of findings whose rows are left out."""
    from mmrun.data.checks.finding import DROPPED_BY_DEFAULT, DROPPED_ON_REQUEST

    known = (*DROPPED_BY_DEFAULT, *DROPPED_ON_REQUEST)
    for flag, kinds in {"--drop": drop, "--keep": keep}.items():
        for kind in kinds:
            if kind not in known:
                raise ConfigError(f"{flag}: no kind '{kind}'{nearest(kind, known)} (there are {', '.join(known)})")
    contradictory = set(drop) & set(keep)
    if contradictory:
        raise ConfigError(f"--drop {contradictory.pop()}: is also kept; drop one of the two flags")
    return {*DROPPED_BY_DEFAULT, *drop}.difference(keep)


def _check_outputs(output: Path, list_file: Path) -> None:
    from mmrun.data.sheets.write_rows import WRITABLE

    if output.suffix.lower() not in WRITABLE:
        raise ConfigError(f"-o {output}: '{output.suffix}' is not written; name a {', '.join(WRITABLE)} file")
    check_folder(output)
    for file in (output, list_file):
        if os.path.lexists(file):
            raise ConfigError(f"-o {output}: {file} exists, and is not overwritten; remove it, or name another file")


def _list_overrides(overrides: Sequence[str], table: "DataTable", output: Path) -> list[str]:
    """Return the overrides for the copy: it is UTF-8, and its file names may start from another folder."""
    from mmrun.data.checks.clean import find_prefix

    changed = ("encoding", "root")
    kept_overrides = [
        override for override in overrides if override.removeprefix("dataset.").split("=")[0] not in changed
    ]
    has_files = any(column.from_files for column in table.columns.values())
    if has_files and table.root is not None and find_prefix(table.root, output.absolute().parent) is None:
        kept_overrides.append(f"root={table.root.absolute()}")
    return kept_overrides


def _build_answer(
    dropped: "Sequence[DroppedRow]",
    counts: Mapping[str, Mapping[str, int]],
    output: Path,
    list_file: Path,
    command: str,
) -> Answer:
    rows = [[kind, str(count)] for kind, count in Counter(row.kind for row in dropped).items()]
    splits = [[split, str(count), str(counts["kept"][split])] for split, count in counts["rows"].items()]
    parts: list[Part] = [
        Table("", ["left out", "rows"], rows) if rows else "no row is left out",
        Table("", ["split", "before", "after"], splits),
        f"wrote {output}, and {list_file}, which lists the rows left out and why",
        Command("to train", command),
    ]
    records = [row._asdict() for row in dropped]
    document = {"output": str(output), **counts, "dropped": records, "train": command}
    return Answer(parts, document, records, ("place", "kind", "reason"), output)
