"""`mmrun diff`: in what two runs differ."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from mmrun.cli.table import format_count, format_duration, format_number, format_size, print_table
from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.results.selection import flatten, format_value

HELP = "Show in what two runs differ: config, code, data and environment, and their figures side by side."

PARTS = ("config", "code", "data", "environment")
COSTS = ("epochs", "steps", "samples", "seconds", "flops", "peak_memory", "trainable_parameters", "total_parameters")
Pairs = dict[str, tuple[Any, Any]]  # by key: the value in each run, None where it has none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", metavar="RUN", help="a run's folder, or the beginning of its name or hash")
    parser.add_argument("b", metavar="RUN")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the differences."""
    a, b = resolve(args.a), resolve(args.b)
    found = differences(a, b)
    if args.format == "json":
        print(json.dumps({"runs": [str(a.path), str(b.path)], **found}, indent=1))
        return 0
    print(f"a  {a.path}\nb  {b.path}")
    for part in PARTS:
        _print(part, found[part])
    for part in ("metrics", "cost"):
        if found[part] is not None:
            print()
            print_table([part, "a", "b", "b - a"], [_cells(key, *pair) for key, pair in found[part].items()])
    return 0


def differences(a: RunFolder, b: RunFolder) -> dict[str, Any]:
    """Return, part by part, the keys whose values differ, and the figures and costs of both.

    A part that a run does not have yet is None: environment and code before it starts, the rest before it is finished.
    """
    found: dict[str, Any] = dict.fromkeys((*PARTS, "metrics", "cost"))
    found["config"] = unlike(_config(a), _config(b))
    if a.environment_file.exists() and b.environment_file.exists():
        one, other = read_json(a.environment_file), read_json(b.environment_file)
        found["code"] = unlike(one.pop("git") or {}, other.pop("git") or {})
        found["environment"] = unlike(one, other)
    if a.finished and b.finished:
        one, other = a.read_metrics(), b.read_metrics()
        found["data"] = unlike(one["dataset"], other["dataset"])
        found["metrics"] = _both(_figures(one), _figures(other))
        found["cost"] = _both(*({key: dict(run["cost"])[key] for key in COSTS} for run in (one, other)))
    return found


def _config(run: RunFolder) -> dict[str, Any]:
    config = run.read_config()
    choices: dict[str, Any] = config.pop("choices")
    return {**choices, **dict(flatten(config))}


def _figures(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    return {f"{split}/{name}": value for split, found in metrics["metrics"].items() for name, value in found.items()}


def unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    """Return the values of the dotted keys in which two mappings differ."""
    return {key: (x, y) for key, (x, y) in _both(a, b).items() if x != y}


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> Pairs:
    one, other = dict(flatten(a)), dict(flatten(b))
    return {key: (one.get(key), other.get(key)) for key in {**one, **other}}


def _print(part: str, pairs: Pairs | None) -> None:
    if not pairs:
        print(f"\n{part}: {'not known yet of both' if pairs is None else 'the same'}")
        return
    print()
    rows = [[key, *("-" if value is None else format_value(value) for value in pair)] for key, pair in pairs.items()]
    print_table([part, "a", "b"], rows, left=3)


def _cells(key: str, a: float | None, b: float | None) -> list[str]:
    write = {"seconds": format_duration, "peak_memory": format_size}.get(
        key, format_count if key in COSTS else format_number
    )
    less = None if a is None or b is None else b - a
    sign = "-" if less is not None and less < 0 else ""
    return [key, write(a), write(b), sign + write(None if less is None else abs(less))]
