"""mmrun diff: how two runs differ."""

import argparse
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypedDict, cast

from mmrun.cli.answer import Answer, Record, print_answer
from mmrun.cli.arguments import RUN_HELP, add_table_format
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import format_count, format_duration, format_number, format_size, pluralize
from mmrun.results.index import resolve
from mmrun.results.listing import read_key
from mmrun.results.run_values import flatten, format_value
from mmrun.results.table import Table

HELP = "Show how two runs differ in config, data, code and environment, and their metrics and costs side by side."

COSTS = ("epochs", "steps", "samples", "seconds", "flops", "peak_memory", "trainable_parameters", "total_parameters")
FORMATTERS = {"seconds": format_duration, "peak_memory": format_size}  # of costs; the others are counts

Values = Mapping[str, object]
Pairs = dict[str, tuple[object, object]]  # by key, the value in each run; None if a run has no such key
Numbers = Mapping[str, float | None]
NumberPairs = dict[str, tuple[float | None, float | None]]


class Differences(TypedDict):
    """How two runs differ, part by part. A part is None if it does not exist yet in both runs.

    Attributes:
        config: keys with different values, choices first.
        data: keys of the data set with different values; it exists once a run is finished.
        code: keys of the git state with different values; it exists once a run has started.
        environment: keys with different values; it exists once a run has started.
        metrics: all metrics, as split/name; they exist once a run is finished.
        cost: all costs; they exist once a run is finished.
    """

    config: Pairs
    data: Pairs | None
    code: Pairs | None
    environment: Pairs | None
    metrics: NumberPairs | None
    cost: NumberPairs | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", metavar="RUN", help=RUN_HELP)
    parser.add_argument("b", metavar="RUN", help="the run to compare it with")
    parser.add_argument("--all", action="store_true", help="also config keys that follow from a different choice")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the differences."""
    a, b = resolve(args.a), resolve(args.b)
    differences = find_differences(a, b)
    hidden = set() if args.all else find_implied_keys(a, b, differences["config"])
    config = {key: pair for key, pair in differences["config"].items() if key not in hidden}
    parts: list[Table | str] = [f"a  {a.path}\nb  {b.path}", _build_pairs("config", config)]
    if hidden:
        parts.append(f"{pluralize(len(hidden), 'key')} below these choices differ too; --all shows them")
    pairs = {name: differences[name] for name in ("data", "code", "environment")}
    parts += [_build_pairs(name, changes) for name, changes in pairs.items() if changes]
    unchanged = [str(_build_pairs(name, changes)) for name, changes in pairs.items() if not changes]
    parts += ["\n".join(unchanged)] if unchanged else []
    if differences["metrics"] is not None and differences["cost"] is not None:
        parts.append(_build_numbers("metrics", differences["metrics"]))
        parts.append(_build_numbers("cost", differences["cost"]))
    document = {"runs": [str(a.path), str(b.path)], **differences}
    print_answer(Answer(parts, document, list(_iterate_records(differences))), args.format)
    return 0


def find_implied_keys(a: RunFolder, b: RunFolder, differing: Collection[str]) -> set[str]:
    """Return the differing keys that lie below a differing choice, and that no override sets.

    Args:
        a: one run folder.
        b: another run folder.
        differing: keys of the config.
    """
    choices, overridden = set[str](), set[str]()
    for run in (a, b):
        choices |= set(run.read_config()["choices"]) & set(differing)
        overridden |= set(map(read_key, run.read_overrides()))
    implied = set()
    for key in differing:
        if key not in overridden and any(key.startswith(f"{choice}.") for choice in choices):
            implied.add(key)
    return implied


def find_differences(a: RunFolder, b: RunFolder) -> Differences:
    """Compare two runs.

    Returns:
        Values of `a`, then of `b`.
    """
    differences: Differences = {
        "config": differing_values(_flatten_config(a), _flatten_config(b)),
        "data": None,
        "code": None,
        "environment": None,
        "metrics": None,
        "cost": None,
    }
    if a.environment_file.exists() and b.environment_file.exists():
        environment_a, environment_b = dict(a.read_environment()), dict(b.read_environment())
        git_a, git_b = environment_a.pop("git", None), environment_b.pop("git", None)
        differences["code"] = differing_values(cast(Values, git_a or {}), cast(Values, git_b or {}))
        differences["environment"] = differing_values(environment_a, environment_b)
    if a.finished and b.finished:
        metrics_a, metrics_b = a.read_metrics(), b.read_metrics()
        differences["data"] = differing_values(metrics_a["dataset"], metrics_b["dataset"])
        differences["metrics"] = _pair_numbers(
            _flatten_metrics(metrics_a["metrics"]), _flatten_metrics(metrics_b["metrics"])
        )
        differences["cost"] = _pair_numbers(_select_costs(metrics_a["cost"]), _select_costs(metrics_b["cost"]))
    return differences


def differing_values(a: Mapping[str, object], b: Mapping[str, object]) -> Pairs:
    """Compare two nested mappings.

    Returns:
        The values that differ, by dotted key.
    """
    values_a, values_b = dict(flatten(a)), dict(flatten(b))
    pairs: Pairs = {}
    for key in {**values_a, **values_b}:
        pair = values_a.get(key), values_b.get(key)
        if pair[0] != pair[1]:
            pairs[key] = pair
    return pairs


def _flatten_config(run: RunFolder) -> dict[str, object]:
    config = run.read_config()
    choices: dict[str, object] = config.pop("choices")
    return {**choices, **dict(flatten(config))}


def _flatten_metrics(metrics: Mapping[str, Mapping[str, float | None]]) -> Numbers:
    flat: dict[str, float | None] = {}
    for split, values in metrics.items():
        flat |= {f"{split}/{name}": value for name, value in values.items()}
    return flat


def _select_costs(cost: Mapping[str, Any]) -> Numbers:
    return {key: cost[key] for key in COSTS}


def _pair_numbers(a: Numbers, b: Numbers) -> NumberPairs:
    return {key: (a.get(key), b.get(key)) for key in {**a, **b}}


def _build_pairs(part: str, pairs: Pairs | None) -> Table | str:
    if not pairs:
        return f"{part}: {'not yet known for both runs' if pairs is None else 'the same'}"
    rows = []
    for key, pair in pairs.items():
        rows.append([key, " -> ".join("-" if value is None else format_value(value) for value in pair)])
    return Table("", [part, "a -> b"], rows, 2)


def _build_numbers(part: str, pairs: NumberPairs) -> Table:
    return Table("", [part, "a", "b", "b - a"], [_format_numbers(key, a, b) for key, (a, b) in pairs.items()])


def _iterate_records(differences: Differences) -> Iterator[Record]:
    for part, pairs in differences.items():
        for key, (a, b) in cast(Pairs, pairs or {}).items():
            yield {"part": part, "key": key, "a": a, "b": b}


def _format_numbers(key: str, a: float | None, b: float | None) -> list[str]:
    formatter = FORMATTERS.get(key, format_count if key in COSTS else format_number)
    difference = None if a is None or b is None else b - a
    sign = "-" if difference is not None and difference < 0 else ""
    size = None if difference is None else abs(difference)
    return [key, formatter(a), formatter(b), sign + formatter(size)]
