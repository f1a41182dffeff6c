"""mmrun train -m sweep=tpe: a search, which chooses its runs, with the same number of trials for each strategy."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrun import compose
from mmrun.cli.console import Console
from mmrun.cli.launch import Launcher, SweepRun, check_configs, explain_unfinished, format_command
from mmrun.cli.output import echo, is_quiet
from mmrun.cli.table import print_table
from mmrun.config import RunConfig
from mmrun.errors import ConfigError, MmrunError
from mmrun.head import FUSED, metric_name
from mmrun.instantiate import instantiate
from mmrun.results.files import write_json
from mmrun.results.formatting import format_number, pluralize
from mmrun.results.index import determine_status
from mmrun.results.table import Table
from mmrun.run import metrics as run_metrics
from mmrun.run.data import open_data
from mmrun.search import Search
from mmrun.search.space import Arm, build_arms
from mmrun.search.trials import Trial, Trials, alone

CURVE_POINTS = (1, 2, 3, 5, 10, 20, 50, 100)  # numbers of trials after which the curve is printed
CHANGEABLE_KEYS = ("trials", "parallel_trials")  # a later call may change them and continue the same search

Node = Mapping[str, Any]  # of configs/sweep
ArmResult = Mapping[str, Any]  # what `Trials.result` returns


def search(
    overrides: Sequence[str], settings: Sequence[str], launch: Sequence[str], rerun: bool, num_jobs: int = 1
) -> int:
    """Draw, train and judge trials until every arm has its number of trials; print the results.

    Args:
        overrides: of the runs, with ranges.
        settings: overrides of the search: sweep=NAME, sweep.KEY=VALUE.
        launch: overrides of the launcher.
        rerun: not allowed.
        num_jobs: trials that train at a time on this machine.

    Returns:
        The exit code: 1 if a trial failed or the search is not complete, else 0.

    Raises:
        ConfigError: a run cannot be composed or built, or the search cannot be set up.
    """
    if rerun:
        raise ConfigError("--rerun repeats runs, not a search; choose another sweep.seed to draw other trials")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("sweep: a search trains each run in one process; start it without torchrun")
    name, node = _load_settings(settings)
    chosen: Search = instantiate(node, "sweep")
    arms = build_arms(overrides, chosen)
    composer = compose.Composer()
    corners = [SweepRun.compose(run_overrides, composer) for run_overrides in _corner_overrides(arms)]
    launcher = Launcher(launch, corners[0].folder.path.parent / ".sweeps", num_jobs)
    console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=is_quiet())
    with console.status(f"checking {pluralize(len(corners), 'run')}", refresh_per_second=4):
        notes = check_configs([sweep_run.config for sweep_run in corners])
    metric = _selection_metric(corners[0].config, chosen)
    higher_is_better = run_metrics.higher_is_better(metric)
    file = launcher.folder / f"{name}-{_identity(overrides, node)}.journal"
    for note in notes:
        console.print(note)
    console.print(f"a search for the best val/{metric}, stored in {file}")
    with alone(file), launcher:
        trials = [Trials(chosen, arm, file, metric, higher_is_better) for arm in arms]
        try:
            is_complete = _run_rounds(trials, composer, launcher, console)
        except KeyboardInterrupt:
            console.print("the same command continues the search")
            raise
        return _report(trials, chosen, file) if is_complete else 1


def representative_overrides(overrides: Sequence[str], settings: Sequence[str]) -> tuple[list[list[str]], int]:
    """Return a few runs that represent the trials of a search.

    Args:
        overrides: of the runs, with ranges.
        settings: overrides of the search.

    Returns:
        Overrides of runs in which each choice and each end of an interval occurs, and the number of trials.
    """
    _, node = _load_settings(settings)
    chosen: Search = instantiate(node, "sweep")
    arms = build_arms(overrides, chosen)
    return _corner_overrides(arms), sum(arm.trials(chosen) for arm in arms)


def _corner_overrides(arms: Sequence[Arm]) -> list[list[str]]:
    corners = []
    for arm in arms:
        corners += arm.corners()
    return corners


def _load_settings(overrides: Sequence[str]) -> tuple[str, Node]:
    """Return the name of the YAML file that sweep=NAME chooses, and its node with all other settings applied."""
    names = [override.partition("=")[2] for override in overrides if override.partition("=")[0] == "sweep"]
    if not names:
        options = "|".join(compose.list_options("sweep"))
        raise ConfigError(f"{overrides[0]}: no search is chosen; add sweep={options}")
    keys = [override for override in overrides if not override.startswith("sweep=")]
    return names[-1], compose.load_option("sweep", names[-1], keys)


def _identity(overrides: Sequence[str], node: Node) -> str:
    """Return a hash of what determines the trials."""
    fixed = {key: value for key, value in node.items() if key not in CHANGEABLE_KEYS}
    return hashlib.sha256(json.dumps([sorted(overrides), fixed], sort_keys=True).encode()).hexdigest()[:8]


def _selection_metric(config: RunConfig, search: Search) -> str:
    """Return the validation metric that selects the best trial."""
    tasks = open_data(config).tasks
    names = [metric_name(task.primary_metric, name, FUSED, len(tasks)) for name, task in tasks.items()]
    return names[0] if search.metric is None else search.metric.removeprefix("val/")


def _run_rounds(arms: Sequence[Trials], composer: compose.Composer, launcher: Launcher, console: Console) -> bool:
    """Train a few trials of each arm per round, so that no arm is ahead; return whether all are complete."""
    while drawn := _draw_round(arms):
        if not _train_round(drawn, composer, launcher, console):
            return False
    return True


def _draw_round(arms: Sequence[Trials]) -> list[tuple[Trials, Trial]]:
    drawn: list[tuple[Trials, Trial]] = []
    for arm in arms:
        drawn += [(arm, trial) for trial in arm.next()]
    return drawn


def _train_round(
    drawn: Sequence[tuple[Trials, Trial]], composer: compose.Composer, launcher: Launcher, console: Console
) -> bool:
    """Train drawn trials; return whether all are complete."""
    composed = []
    for arm, trial in drawn:
        console.print(f"{arm.name}: {' '.join(trial.overrides[len(arm.arm.fixed) :])}")
        try:
            composed.append((arm, trial, SweepRun.compose(trial.overrides, composer)))
        except MmrunError as error:  # two choices that cannot be combined
            console.print(f"failed: {error}")
            arm.refuse(trial, str(error))
    sweep_runs, reports = [], []
    for arm, trial, sweep_run in composed:
        if not (trial.resumed and determine_status(sweep_run.folder)["status"] == "pruned"):
            sweep_runs.append(sweep_run)
            reports.append(arm.report(trial))
    reasons = launcher.launch(sweep_runs, trials=reports)
    is_complete = True
    for arm, trial, sweep_run in composed:
        path = sweep_run.folder.path
        if not arm.tell(trial, sweep_run.folder, reasons.get(path)):
            console.print(f"{path}  {explain_unfinished(sweep_run, reasons)}; the same command continues the search")
            is_complete = False
    return is_complete


# --------------------------------------------------------------------------------------------------------- results


def _report(arms: Sequence[Trials], search: Search, file: Path) -> int:
    """Print the best trial of each arm and its curve; write all results beside the journal. Return the exit code."""
    results = [arm.result() for arm in arms]
    curve = "expected best" if search.independent else "best so far"
    metric = f"val/{arms[0].metric}"
    header = ["", "trials", "finished", "pruned", "failed", "epochs", f"best {metric}", "its test"]
    print_table(Table("", header, [_format_result(result) for result in results]))
    echo()
    _print_curves(results, curve)
    table = file.with_suffix(".json")
    write_json(table, {"metric": metric, "curve": curve, "arms": results})
    echo(f"\n{table}")
    failures = []
    for result in results:
        if result["best"] is not None:
            echo(f"best of {result['arm']}: {format_command(result['best']['overrides'])}")
        failures += result["failed"]
    for failure in failures:
        echo(f"failed: {failure['reason']}\n  repeat it: {format_command(failure['overrides'])}")
    return 1 if failures else 0


def _print_curves(results: Sequence[ArmResult], kind: str) -> None:
    """Print how good the best trial of each arm is after so many trials."""
    longest = max(len(result["curve"]) for result in results)
    points = sorted({*(point for point in CURVE_POINTS if point < longest), longest})
    rows = []
    for result in results:
        values = dict(enumerate(result["curve"], start=1))
        rows.append([result["arm"], *(format_number(values.get(point)) for point in points)])
    print_table(Table("", [f"{kind} after trials", *map(str, points)], rows))


def _format_result(result: ArmResult) -> list[str]:
    best = result["best"]
    counts = [str(result["trials"]), str(result["finished"]), str(result["pruned"]), str(len(result["failed"]))]
    values = ["-", "-"] if best is None else [format_number(best["value"]), format_number(best["test"])]
    return [result["arm"], *counts, format_number(result["epochs"]), *values]
