"""`mmrun plan`: what a run or a sweep will take, before any of it runs."""

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrun.cli.table import format_count, format_duration, format_size, pluralize, print_table

if TYPE_CHECKING:
    from mmrun.cli.launch import SweepRun
    from mmrun.run.estimate import RunEstimate

KEPT = {"disk": "on disk, for all runs that read it so", "memory": "in memory, by each run"}

HELP = "Time a few real steps of each stage, and predict hours, disk and what runs share. Trains and keeps nothing."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign] # flags among the words, as in train
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as after `mmrun train`")
    parser.add_argument("-m", "--multirun", action="store_true", help="a run for every combination, or a search")
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR", help="search YAML here first")
    parser.add_argument("--format", choices=["table", "json"], default="table")


@dataclass(frozen=True)
class Alike:
    """Runs that differ in no more than their seed."""

    label: str  # the words that set them apart
    seeds: list[int]  # of those that are not finished
    runs: float  # for which these stand; in a search more than are listed
    estimate: "RunEstimate"


def run(args: argparse.Namespace) -> int:
    """Print the estimate."""
    from mmrun import compose

    compose.use_config_dirs(args.config_dir)
    sweep_runs, trials = _sweep_runs(args.overrides, args.multirun)
    left = [sweep_run for sweep_run in sweep_runs if trials is not None or not sweep_run.folder.finished]
    found = _estimate_groups(left, len(left) if trials is None else trials)
    told = {
        "asked": len(sweep_runs) if trials is None else trials,
        "finished": len(sweep_runs) - len(left),
        **_totals(found),
    }
    if args.format == "json":
        print(json.dumps({**told, "alike": [asdict(group) for group in found]}, indent=1))
    else:
        _print(found, told, trials is not None)
    return 0


def _sweep_runs(overrides: Sequence[str], multirun: bool) -> tuple[list["SweepRun"], int | None]:
    """Compose the runs; of a search, runs that stand for its trials, and how many these are."""
    from mmrun import compose
    from mmrun.cli.launch import SweepRun
    from mmrun.cli.sweep import refuse_intervals, sort

    overrides, _, search = sort(overrides)
    if search:
        from mmrun.cli.search import stand_ins

        stands, trials = stand_ins(overrides, search)
        return [SweepRun.of(overrides) for overrides in stands], trials
    refuse_intervals(overrides)
    asked = [SweepRun.of(job) for job in (compose.expand_sweep(overrides) if multirun else [overrides])]
    return list({sweep_run.folder.path: sweep_run for sweep_run in asked}.values()), None


def _estimate_groups(sweep_runs: Sequence["SweepRun"], runs: int) -> list[Alike]:
    from mmrun import compose
    from mmrun.cli.terminal import Terminal
    from mmrun.run.estimate import estimate_run

    alike: dict[str, list[SweepRun]] = {}
    for sweep_run in sweep_runs:
        alike.setdefault(json.dumps({**compose.as_dict(sweep_run.config), "seed": None}, sort_keys=True), []).append(
            sweep_run
        )
    found = []
    with tempfile.TemporaryDirectory() as scratch, Terminal(live=False) as terminal:
        for group in alike.values():
            label = _label(group[0].overrides, [sweep_run.overrides for sweep_run in sweep_runs])
            terminal.on_message(f"timing {label}")
            timed = estimate_run(group[0].config, Path(scratch), terminal)
            seeds = [sweep_run.config.seed for sweep_run in group]
            found.append(Alike(label, seeds, runs * len(group) / len(sweep_runs), timed))
    return found


def _label(overrides: Sequence[str], of_all: Sequence[Sequence[str]]) -> str:
    """Return the words that not all runs have, the seed aside."""
    apart = [w for w in overrides if not w.startswith("seed=") and not all(w in others for others in of_all)]
    return " ".join(apart) or "run"


def _totals(found: Sequence[Alike]) -> dict[str, Any]:
    """Add up. A stage with reuse=true that gives the same weights as another is trained once."""
    seconds, asked, different, stored = 0.0, 0.0, set(), 0
    for group in found:
        share = group.runs / len(group.seeds)
        for seed, stage in itertools.product(group.seeds, group.estimate.stages):
            new = (stage.key, seed) not in different
            different.add((stage.key, seed))
            asked += share
            if new or not stage.reuse:
                seconds += share * stage.seconds
            if new and stage.reuse:
                stored += stage.stored
        seconds += group.runs * group.estimate.around
    columns = {column.key: column for group in found for column in group.estimate.columns}
    on_disk = [column for column in columns.values() if column.kept == "disk"]
    return {
        "seconds": seconds + sum(column.seconds for column in on_disk),
        "longest": max((group.estimate.seconds for group in found), default=0.0),
        "stages": {"asked": asked, "different": len(different)},
        "bytes": {
            "checkpoints": sum(group.runs * sum(s.checkpoints for s in group.estimate.stages) for group in found),
            "stages": stored,
            "columns": sum(column.size for column in on_disk),
        },
        "columns": [asdict(column) for column in columns.values()],
    }


def _print(found: Sequence[Alike], told: dict[str, Any], search: bool) -> None:
    header = ["run", "stage", "runs", "features", "steps", "a step", "validation", "a run", "FLOPs", "checkpoints"]
    if found:
        print_table(header, list(_rows(found)), left=2)
        print()
    finished = f", {told['finished']} of them finished" if told["finished"] else ""
    halted = "; halving ends some earlier" if search else ""
    print(
        f"{pluralize(told['asked'], 'run')}{finished}: about {format_duration(told['seconds'])} one after the other, "
        f"the longest {format_duration(told['longest'])}{halted}"
    )
    stages, disk = told["stages"], told["bytes"]
    print(
        f"{stages['asked']:g} stages, {stages['different']} different; the same ones are trained once where reuse=true"
    )
    print(
        f"disk: checkpoints {format_size(disk['checkpoints'])}; in the cache {format_size(disk['stages'])} of stages, ",
        end="",
    )
    print(f"{format_size(disk['columns'])} of columns")
    for column in told["columns"]:
        kept = "decoded anew for each batch" if column["kept"] == "nowhere" else f"kept {KEPT[column['kept']]}"
        size, seconds = format_size(column["size"]), format_duration(column["seconds"])
        print(f"column {column['modality']}: {size}, {seconds} to decode, {kept}")


def _rows(found: Sequence[Alike]) -> Iterable[list[str]]:
    for group in found:
        for stage in group.estimate.stages:
            yield [
                group.label,
                stage.name,
                f"{group.runs:.3g}",
                format_duration(stage.features) if stage.features > 0 else "-",
                format_count(stage.steps),
                f"{1000 * stage.step:.3g} ms",
                f"{stage.evaluations} x {1000 * stage.evaluation:.3g} ms",
                format_duration(stage.seconds),
                format_count(stage.flops),
                format_size(stage.checkpoints),
            ]
