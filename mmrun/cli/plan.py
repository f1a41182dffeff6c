"""mmrun plan: what a run or a sweep will cost, estimated before any of it runs."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_overrides, add_table_format
from mmrun.results.formatting import format_count, format_duration, format_milliseconds, format_size, pluralize
from mmrun.results.table import Table

if TYPE_CHECKING:
    from mmrun.cli.launch import SweepRun
    from mmrun.run.estimate import ColumnEstimate, RunEstimate

HELP = "Time a few real steps of each stage, and estimate time, disk and what runs share. Nothing is stored."

HEADER = ["run", "stage", "runs", "features", "steps", "a step", "validation", "a run", "FLOPs", "checkpoints"]
DETAILS = tuple(HEADER.index(name) for name in ("features", "a step", "validation", "FLOPs"))
STORAGE = {  # of a decoded column
    "disk": "kept on disk, shared by all runs that read it",
    "memory": "kept in memory, by each run",
    "nowhere": "decoded for each batch",
}


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ only in their seed.

    Attributes:
        label: the overrides that distinguish them from other groups.
        seeds: of the runs that are not finished.
        runs: how many runs they represent; in a search, more than are listed.
        estimate: of one run.
    """

    label: str
    seeds: list[int]
    runs: float
    estimate: "RunEstimate"


class StageCounts(TypedDict):
    """How many stages are trained.

    Attributes:
        asked: by all runs.
        different: without those that give the same weights as another.
    """

    asked: float
    different: int


class DiskUse(TypedDict):
    """Bytes on disk.

    Attributes:
        checkpoints: in the run folders.
        stages: in the cache, of reused stages.
        columns: in the cache.
    """

    checkpoints: float
    stages: int
    columns: int


class Plan(TypedDict):
    """The estimate of all runs.

    Attributes:
        asked: number of runs.
        finished: how many of them are finished already.
        seconds: of all others, one after the other.
        longest: seconds of the longest run.
        stages: number.
        bytes: on disk.
        columns: the fields of a `ColumnEstimate`, for each decoded column.
    """

    asked: int
    finished: int
    seconds: float
    longest: float
    stages: StageCounts
    bytes: DiskUse
    columns: list[dict[str, object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_overrides(parser)
    parser.add_argument("-m", "--multirun", action="store_true", help="plan a sweep or a search, as `mmrun train -m`")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the estimate."""
    from mmrun import compose
    from mmrun.run.early_checks import check_early

    compose.use_config_dirs(args.config_dir)
    sweep_runs, num_trials = _compose_runs(args.overrides, args.multirun)
    if num_trials is None:
        num_runs = len(sweep_runs)
        unfinished = [sweep_run for sweep_run in sweep_runs if not sweep_run.folder.finished]
        num_estimated = len(unfinished)
    else:
        num_runs = num_estimated = num_trials
        unfinished = sweep_runs
    for sweep_run in unfinished:
        check_early(sweep_run.config)
    groups = _estimate_groups(unfinished, num_estimated)
    plan = _sum_up(groups, num_runs, len(sweep_runs) - len(unfinished))
    print_answer(_describe_plan(groups, plan, num_trials is not None), args.format)
    return 0


def _compose_runs(overrides: Sequence[str], multirun: bool) -> tuple[list["SweepRun"], int | None]:
    """Compose the different runs. For a search, compose runs that represent its trials, and return their number."""
    from mmrun import compose
    from mmrun.cli.launch import SweepRun
    from mmrun.cli.sweep import split_overrides

    overrides, _, search = split_overrides(overrides)
    composer = compose.Composer()
    if search:
        from mmrun.cli.search import representative_overrides

        representatives, num_trials = representative_overrides(overrides, search)
        return [SweepRun.compose(run_overrides, composer) for run_overrides in representatives], num_trials
    overrides_by_run = compose.expand_sweep(overrides) if multirun else [overrides]
    sweep_runs = [SweepRun.compose(run_overrides, composer) for run_overrides in overrides_by_run]
    return list({sweep_run.folder.path: sweep_run for sweep_run in sweep_runs}.values()), None


def _estimate_groups(sweep_runs: Sequence["SweepRun"], num_runs: int) -> list[RunGroup]:
    """Estimate one run of each group. All of `sweep_runs` represent `num_runs` runs."""
    from mmrun import compose
    from mmrun.cli.terminal import Terminal
    from mmrun.run.data import DataSets
    from mmrun.run.estimate import Timings, estimate_run

    members: dict[str, list[SweepRun]] = {}
    for sweep_run in sweep_runs:
        without_seed = json.dumps({**compose.as_dict(sweep_run.config), "seed": None}, sort_keys=True)
        members.setdefault(without_seed, []).append(sweep_run)
    all_overrides = [sweep_run.overrides for sweep_run in sweep_runs]
    groups = []
    timings: Timings = {}
    data_sets = DataSets()
    with tempfile.TemporaryDirectory() as scratch, Terminal(live=False) as terminal:
        for runs in members.values():
            label = _label(runs[0].overrides, all_overrides)
            terminal.on_message(f"timing {label}")
            estimate = estimate_run(runs[0].config, Path(scratch), terminal, timings, data_sets)
            seeds = [sweep_run.config.seed for sweep_run in runs]
            groups.append(RunGroup(label, seeds, num_runs * len(runs) / len(sweep_runs), estimate))
    return groups


def _label(overrides: Sequence[str], all_overrides: Sequence[Sequence[str]]) -> str:
    """Join the overrides, except the seed, that not all runs have."""
    distinct = []
    for override in overrides:
        if not override.startswith("seed=") and not all(override in others for others in all_overrides):
            distinct.append(override)
    return " ".join(distinct) or "run"


def _sum_up(groups: Sequence[RunGroup], num_runs: int, num_finished: int) -> Plan:
    """Sum the estimates. Of stages with reuse=true that give the same weights, only one is trained."""
    seconds, num_stages, stored = 0.0, 0.0, 0
    seen = set()  # stages that give different weights, by key and seed
    for group in groups:
        runs_per_seed = group.runs / len(group.seeds)
        for seed in group.seeds:
            for stage in group.estimate.stages:
                is_new = (stage.key, seed) not in seen
                seen.add((stage.key, seed))
                num_stages += runs_per_seed
                if is_new or not stage.reuse:
                    seconds += runs_per_seed * stage.seconds
                if is_new and stage.reuse:
                    stored += stage.stored
        seconds += group.runs * group.estimate.around
    columns = _collect_columns(groups)
    on_disk = [column for column in columns if column.kept == "disk"]
    disk: DiskUse = {
        "checkpoints": sum(group.runs * _sum_checkpoints(group.estimate) for group in groups),
        "stages": stored,
        "columns": sum(column.size for column in on_disk),
    }
    return {
        "asked": num_runs,
        "finished": num_finished,
        "seconds": seconds + sum(column.seconds for column in on_disk),
        "longest": max((group.estimate.seconds for group in groups), default=0.0),
        "stages": {"asked": num_stages, "different": len(seen)},
        "bytes": disk,
        "columns": [asdict(column) for column in columns],
    }


def _sum_checkpoints(estimate: "RunEstimate") -> int:
    return sum(stage.checkpoints for stage in estimate.stages)


def _collect_columns(groups: Sequence[RunGroup]) -> list["ColumnEstimate"]:
    """Return the different columns that runs read."""
    columns: dict[str, ColumnEstimate] = {}
    for group in groups:
        columns |= {column.key: column for column in group.estimate.columns}
    return list(columns.values())


def _describe_plan(groups: Sequence[RunGroup], plan: Plan, is_search: bool) -> Answer:
    """Show the stages of each group of runs, and sums over all."""
    finished = f", {plan['finished']} of them finished" if plan["finished"] else ""
    pruned = "; pruning ends some earlier" if is_search else ""
    stages, disk = plan["stages"], plan["bytes"]
    lines = [
        f"{pluralize(plan['asked'], 'run')}{finished}: about {format_duration(plan['seconds'])} one after the other, "
        f"the longest {format_duration(plan['longest'])}{pruned}",
        f"{stages['asked']:g} stages, {stages['different']} different; with reuse=true, equal ones are trained once",
        f"disk: {format_size(disk['checkpoints'])} of checkpoints; in the cache {format_size(disk['stages'])} of "
        f"stages, {format_size(disk['columns'])} of columns",
    ]
    for column in _collect_columns(groups):
        size, seconds = format_size(column.size), format_duration(column.seconds)
        lines.append(f"column {column.modality}: {size}, {seconds} to decode, {STORAGE[column.kept]}")
    tables = [Table("", HEADER, list(_format_stages(groups)), 2, details=DETAILS)] if groups else []
    document = {**plan, "alike": [asdict(group) for group in groups]}
    return Answer([*tables, "\n".join(lines)], document, list(_iterate_records(groups)))


def _iterate_records(groups: Sequence[RunGroup]) -> Iterator[dict[str, object]]:
    for group in groups:
        for stage in group.estimate.stages:
            yield {"run": group.label, "runs": group.runs, **asdict(stage)}


def _format_stages(groups: Sequence[RunGroup]) -> Iterator[list[str]]:
    for group in groups:
        for place, stage in enumerate(group.estimate.stages):
            yield [
                "" if place else group.label,
                stage.name,
                f"{group.runs:.3g}",
                format_duration(stage.features) if stage.features > 0 else "-",
                format_count(stage.steps),
                format_milliseconds(stage.step),
                f"{stage.evaluations} x {format_milliseconds(stage.evaluation)}",
                format_duration(stage.seconds),
                format_count(stage.flops),
                format_size(stage.checkpoints),
            ]
