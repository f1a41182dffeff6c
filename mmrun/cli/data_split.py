"""mmrun data split: a copy of a file with a column that says which split or fold each row is in."""

import argparse
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrun.cli.answer import Answer, Command, Part, Record, format_list, print_answer
from mmrun.cli.arguments import add_table_format, check_folder, parse_number
from mmrun.cli.dataset_arguments import add_file, compose_node, find_override
from mmrun.errors import ConfigError, DataError
from mmrun.results.table import Table
from mmrun.values import Range

if TYPE_CHECKING:
    from mmrun.data.split_file import Division, Request

HELP = "Write a copy of a file with a column of splits or folds: stratified, with whole groups, or by time."

DEFAULT_SHARE = 0.1
MAX_CLASSES_PRINTED = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_file(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="file to write, of the same format as FILE"
    )
    parser.add_argument("--val", type=float, metavar="SHARE", help=f"share for validation (default: {DEFAULT_SHARE})")
    parser.add_argument("--test", type=float, metavar="SHARE", help=f"share for testing (default: {DEFAULT_SHARE})")
    parser.add_argument("--folds", type=int, metavar="K", help="write folds 0 to K-1 instead of splits")
    parser.add_argument("--group", metavar="COLUMN", help="rows with equal cells stay together: a patient, a speaker")
    parser.add_argument("--time", metavar="COLUMN", help="train on the oldest rows, test on the newest")
    parser.add_argument(
        "--labelled",
        metavar="SHARE[,SHARE]",
        help="also write a column `labelled`: the smallest share with which dataset.labelled shows the target",
    )
    parser.add_argument("--seed", type=parse_number(int, Range(at_least=0)), default=0, help="of the draw (default: 0)")
    parser.add_argument(
        "--column", metavar="NAME", help="name of the new column (default: split, or fold with --folds)"
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file, and print the rows, groups and classes of each part.

    Raises:
        ConfigError: an argument does not fit the others or the file, or the output exists.
        DataError: a row cannot be read, or the rows cannot be divided as requested.
    """
    node = compose_node(args.file, args.overrides)
    request = _build_request(args)

    from mmrun.data.folders.tables import locate_table
    from mmrun.data.sheets.new_column import write_with_columns
    from mmrun.data.split_file import divide_file
    from mmrun.results.files import write_atomically

    source = locate_table(args.file, "name a CSV, JSON Lines or Parquet file")
    _check_output(args.output, source)
    keys = ("target", "task", "order", "encoding", "read")
    division = divide_file(source, request, **{key: node[key] for key in keys})
    columns = _build_columns(division, args.column or ("split" if args.folds is None else "fold"), source)

    def write(path: Path) -> None:
        write_with_columns(source, path, division.sheet, columns, node["encoding"])

    write_atomically(args.output, write)
    print_answer(_build_answer(division, args, request, source), args.format)
    return 0


def _build_request(args: argparse.Namespace) -> "Request":
    from mmrun.data.split_file import Request, check_request

    if args.folds is not None and (args.val is not None or args.test is not None):
        raise ConfigError(
            "--folds: --val and --test belong to splits; one fold is for testing, the next for validation"
        )
    group = find_override(args.overrides, "group")
    if args.group is not None and group not in (None, args.group):
        raise ConfigError(f"--group: {args.group}, but the overrides say group={group}; drop one of them")
    request = Request(
        val=DEFAULT_SHARE if args.val is None else args.val,
        test=DEFAULT_SHARE if args.test is None else args.test,
        folds=args.folds,
        group=args.group or group,
        time=args.time,
        labelled=_parse_shares(args.labelled),
        seed=args.seed,
    )
    check_request(request)
    return request


def _parse_shares(text: str | None) -> list[float]:
    shares = []
    for part in [] if text is None else text.split(","):
        try:
            shares.append(float(part))
        except ValueError:
            raise ConfigError(f"--labelled: '{part}' is not a number; write for example 0.01,0.1") from None
    return shares


def _check_output(output: Path, source: Path) -> None:
    from mmrun.data.sheets.new_column import WRITABLE

    if source.suffix.lower() not in WRITABLE:
        raise ConfigError(f"{source.name}: no {source.suffix} file is written; save it as CSV first")
    if output.suffix.lower() != source.suffix.lower():
        raise ConfigError(f"-o {output}: the format stays that of {source.name}; name a {source.suffix} file")
    check_folder(output)
    if os.path.lexists(output):
        raise ConfigError(f"-o {output}: exists, and is not overwritten; remove it, or name another file")


def _build_columns(division: "Division", name: str, source: Path) -> dict[str, Any]:
    """Return the cells of the new columns."""
    from mmrun.data.sheets.new_column import find_name_conflict
    from mmrun.data.split_file import ALWAYS_TRAIN
    from mmrun.data.table import SPLITS

    if not name.strip():
        raise ConfigError("--column: is empty; name the new column")
    parts = division.parts.tolist()
    if division.names[0] not in SPLITS:
        parts = [None if part == ALWAYS_TRAIN else int(part) for part in parts]
    columns = {name: parts}
    if division.labelled is not None:
        columns["labelled"] = division.labelled
    for new_name in columns:
        conflict = find_name_conflict(source, division.sheet, new_name)
        if conflict is not None:
            mend = "name the new one with --column NAME" if new_name == name else "drop --labelled"
            raise DataError(f"{source.name}: has a column '{conflict}' already; rename or remove it, or {mend}")
    return columns


# ---------------------------------------------------------------------------------------------------------- the answer


def _build_answer(division: "Division", args: argparse.Namespace, request: "Request", source: Path) -> Answer:
    command = _format_train_command(args, request, source)
    records = [_describe_part(division, name) for name in division.names]
    parts: list[Part] = [_tabulate_parts(records, args), *_tabulate_targets(division)]
    if division.notes:
        parts.append(format_list("notes:", division.notes))
    parts.append(f"wrote {args.output}")
    parts.append(Command("to train", command))
    document = {
        "output": str(args.output),
        "request": asdict(request),
        "parts": records,
        "notes": division.notes,
        "train": command,
    }
    return Answer(parts, document, records, written=args.output)


def _describe_part(division: "Division", name: str) -> Record:
    import numpy as np

    from mmrun.data.split import count_labels

    rows = division.parts == name
    record: dict[str, object] = {"part": name, "rows": int(rows.sum()), "share": float(rows.mean())}
    if division.groups is not None:
        record["groups"] = len(np.unique(division.groups[rows]))
    if division.times:
        record["oldest"], record["newest"] = map(str, division.times[name])
    for target_name, target in division.targets.items():
        if target.task == "regression":
            numbers = target.values[rows]
            for statistic in ("min", "median", "max"):
                record[f"{target_name}.{statistic}"] = float(getattr(np, f"nan{statistic}")(numbers))
        else:
            counts = count_labels(target, division.parts, [name])[name]
            for label, count in zip(target.names, counts.tolist(), strict=True):
                record[f"{target_name}.{label}"] = count
    return record


def _tabulate_parts(records: list[Record], args: argparse.Namespace) -> Table:
    title = "split" if args.folds is None else "fold"
    header = [title, *(key for key in ("rows", "share", "groups", "oldest", "newest") if key in records[0])]
    rows = []
    for record in records:
        cells = [str(record["part"]), str(record["rows"]), f"{record['share']:.1%}"]
        rows.append([*cells, *(str(record[key]) for key in header[3:])])
    return Table("", header, rows)


def _tabulate_targets(division: "Division") -> Iterator[Part]:
    from mmrun.data.names import shorten
    from mmrun.data.split import count_labels

    for name, target in division.targets.items():
        if target.task == "regression":
            records = [_describe_part(division, part) for part in division.names]
            rows = []
            for record in records:
                numbers = [f"{record[f'{name}.{statistic}']:.4g}" for statistic in ("min", "median", "max")]
                rows.append([str(record["part"]), *numbers])
            yield Table("", [name, "least", "median", "most"], rows)
            continue
        counts = count_labels(target, division.parts, division.names)
        rows = []
        for place, label in enumerate(target.names[:MAX_CLASSES_PRINTED]):
            rows.append([shorten(label), *(str(counts_of_part[place]) for counts_of_part in counts.values())])
        yield Table("", [name, *division.names], rows)
        if len(target.names) > MAX_CLASSES_PRINTED:
            yield f"and {len(target.names) - MAX_CLASSES_PRINTED} more (--format json lists all)"


def _format_train_command(args: argparse.Namespace, request: "Request", source: Path) -> str:
    words = [f"dataset.{override.removeprefix('dataset.')}" for override in args.overrides]
    if request.group is not None and find_override(args.overrides, "group") is None:
        words.append(f"dataset.group={request.group}")
    if args.column is not None:
        words.append(f"dataset.{'split' if args.folds is None else 'fold_column'}={args.column}")
    if args.output.absolute().parent != source.absolute().parent and find_override(args.overrides, "root") is None:
        words.append(f"dataset.root={source.parent}")
    sweep = [] if args.folds is None else ["-m"]
    folds = [] if args.folds is None else [f"dataset.fold=range({args.folds})"]
    return shlex.join(["mmrun", "train", *sweep, "dataset=manifest", f"dataset.path={args.output}", *words, *folds])
