"""mmrun data prepare: the manifest of a named benchmark, from its official layout on disk."""

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, Command, Part, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.errors import ConfigError
from mmrun.results.formatting import pluralize
from mmrun.results.table import Table

if TYPE_CHECKING:
    from mmrun.data.benchmarks.benchmark import Benchmark
    from mmrun.data.benchmarks.prepare import Prepared

HELP = "Write the manifest of a named benchmark from its official layout; without --source, say where to get it."

MAX_MISSING_PRINTED = 20  # files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a benchmark; without it, all are listed")
    parser.add_argument("--source", type=Path, metavar="DIR", help="the folder into which it was unpacked")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the manifest, .csv or .parquet (default: NAME.csv)"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="leave the cells of missing files empty, and list these files"
    )
    parser.add_argument("--allow-outside", action="store_true", help="follow links that lead out of DIR")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """List the benchmarks, describe one, or write its manifest."""
    from mmrun.data.benchmarks.catalog import BENCHMARKS, find_benchmark

    if args.name is None:
        if args.source is not None or args.output is not None:
            raise ConfigError(f"name the benchmark before --source (there are {', '.join(BENCHMARKS)})")
        answer = _list_benchmarks(BENCHMARKS)
    elif args.source is None:
        name, benchmark = find_benchmark(args.name)
        if args.output is not None or args.allow_missing or args.allow_outside:
            raise ConfigError(f"name the folder of {benchmark.title}: --source DIR")
        answer = _describe_benchmark(name, benchmark)
    else:
        answer = _prepare(*find_benchmark(args.name), args)
    print_answer(answer, args.format)
    return 0


def _prepare(name: str, benchmark: "Benchmark", args: argparse.Namespace) -> Answer:
    """Write the manifest, whole or not at all."""
    from mmrun.data.benchmarks.prepare import write_manifest
    from mmrun.data.benchmarks.source import Source
    from mmrun.data.benchmarks.writing import check_output
    from mmrun.results.files import write_atomically

    output = args.output or Path(f"{name}{benchmark.suffix}")
    folder = args.source.expanduser()
    check_output(output, benchmark.suffix)
    source = Source(folder, benchmark.title, args.allow_missing, args.allow_outside)
    results = []
    write_atomically(output, lambda path: results.append(write_manifest(benchmark, source, path, output.suffix)))
    overrides = list_overrides(benchmark, results[0], folder, output)
    if args.allow_outside:
        overrides.append("allow_outside=true")
    return _describe_manifest(benchmark, results[0], output, overrides)


# --------------------------------------------------------------------------------------------------- without a folder


def _list_benchmarks(benchmarks: Mapping[str, "Benchmark"]) -> Answer:
    rows, records = [], []
    for name, benchmark in benchmarks.items():
        modalities = ", ".join(benchmark.modalities)
        rows.append([name, benchmark.title, modalities, benchmark.target, f"{benchmark.num_rows:,}"])
        records.append(_list_facts(name, benchmark))
    table = Table("", ["name", "benchmark", "modalities", "target", "rows"], rows, 4, keys=1)
    hint = "mmrun data prepare NAME says where to get one and under which licence"
    return Answer([table, hint], {"benchmarks": records}, records)


def _list_facts(name: str, benchmark: "Benchmark") -> dict[str, object]:
    return {
        "name": name,
        "title": benchmark.title,
        "paper": benchmark.paper,
        "url": benchmark.url,
        "size": benchmark.size,
        "license": benchmark.license,
        "modalities": list(benchmark.modalities),
        "target": benchmark.target,
        "task": benchmark.task,
        "group": benchmark.group,
        "split": benchmark.split,
        "metric": benchmark.metric,
        "rows": benchmark.num_rows,
        "layout": list(benchmark.layout),
        "caution": benchmark.caution,
    }


def _describe_benchmark(name: str, benchmark: "Benchmark") -> Answer:
    facts = _list_facts(name, benchmark)
    modalities = [f"{modality} ({facts.kind})" for modality, facts in benchmark.modalities.items()]
    lines = {
        "get it from": benchmark.url,
        "size": benchmark.size,
        "licence": benchmark.license,
        "modalities": ", ".join(modalities),
        "target": f"{benchmark.target} ({benchmark.task})",
        "split": benchmark.split,
        "group": benchmark.group or "none",
        "metric": benchmark.metric,
        "caution": benchmark.caution,
    }
    text = [f"{benchmark.title} ({benchmark.paper})"]
    text += [f"  {label}: {value}" for label, value in lines.items() if value]
    layout = ["expected in the folder:", *(f"  {line}" for line in benchmark.layout)]
    command = Command("to prepare", f"mmrun data prepare {name} --source DIR")
    return Answer(["\n".join(text), "\n".join(layout), command], facts, [facts])


# ----------------------------------------------------------------------------------------------------- what was written


def _describe_manifest(benchmark: "Benchmark", prepared: "Prepared", output: Path, overrides: Sequence[str]) -> Answer:
    num_rows = sum(prepared.rows.values())
    splits = [f"{count:,} {split}" for split, count in prepared.rows.items() if split]
    notes = [*prepared.notes, *_describe_gaps(benchmark, prepared)]
    if benchmark.caution:
        notes.append(benchmark.caution)
    check = shlex.join(["mmrun", "data", "check", str(output), *overrides])
    train = ["mmrun", "train", "dataset=manifest", f"dataset.path={output}"]
    train_command = shlex.join(train + [f"dataset.{override}" for override in overrides])
    parts: list[Part] = [f"{output}: {num_rows:,} rows{': ' if splits else ''}{', '.join(splits)}"]
    parts.append(f"split: {benchmark.split}\nmetric of papers: {benchmark.metric}")
    parts += ["\n".join(["missing files:", *_list_missing(prepared)])] if prepared.missing else []
    parts += ["\n".join(["notes:", *(f"  {note}" for note in notes)])] if notes else []
    parts += [Command("to check", check), Command("to train", train_command)]
    document = {
        "path": str(output),
        "rows": dict(prepared.rows),
        "columns": list(prepared.columns),
        "missing": {name: list(files) for name, files in prepared.missing.items()},
        "left_out": dict(prepared.left_out),
        "notes": notes,
        "check": check,
        "train": train_command,
    }
    record = {"path": str(output), **{f"rows_{split}": count for split, count in prepared.rows.items()}}
    return Answer(parts, document, [record], written=output)


def _describe_gaps(benchmark: "Benchmark", prepared: "Prepared") -> list[str]:
    """Describe what the manifest lacks of the official release."""
    notes = [f"{count:,} left out: {reason}" for reason, count in prepared.left_out.items()]
    num_rows = sum(prepared.rows.values())
    if num_rows + sum(prepared.left_out.values()) < benchmark.num_rows:
        notes.append(f"the official release has {benchmark.num_rows:,} rows, this folder {num_rows:,}")
    return notes


def _list_missing(prepared: "Prepared") -> list[str]:
    lines = []
    for modality, names in prepared.missing.items():
        lines += [f"  {modality}: {pluralize(len(names), 'file')}", *(f"    {name}" for name in names)]
    more = len(lines) - MAX_MISSING_PRINTED
    shown = lines[:MAX_MISSING_PRINTED]
    return [*shown, f"  and {more:,} more (--format json lists all)"] if more > 0 else shown


def list_overrides(benchmark: "Benchmark", prepared: "Prepared", folder: Path, output: Path) -> list[str]:
    """Return the overrides of `dataset` that a run of the manifest needs.

    Args:
        benchmark: that was prepared.
        prepared: what the manifest holds.
        folder: that its file names are relative to.
        output: the manifest.
    """
    overrides = []
    if benchmark.suffix == ".csv" and os.path.realpath(folder) != os.path.realpath(output.absolute().parent):
        overrides.append(f"root={folder}")
    for name in prepared.modalities:
        columns = benchmark.list_columns(name)
        overrides.append(f"columns.{name}={columns[0] if len(columns) == 1 else '[' + ','.join(columns) + ']'}")
        if benchmark.modalities[name].kind == "text":  # short texts could be categories
            overrides.append(f"kinds.{name}=text")
    overrides += [f"target={benchmark.target}", f"task={benchmark.task}"]
    if benchmark.group in prepared.columns:
        overrides.append(f"group={benchmark.group}")
    return overrides
