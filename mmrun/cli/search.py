"""mmrun train -m sweep=tpe: a sweep that chooses its runs, with the same number of trials for each strategy."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mmrun import compose
from mmrun.cli.launch import Launcher, SweepRun, check, command, why
from mmrun.cli.table import format_number, print_table
from mmrun.config import RunConfig
from mmrun.errors import ConfigError, MmrunError
from mmrun.head import FUSED
from mmrun.instantiate import instantiate
from mmrun.results.files import write_json
from mmrun.results.index import determine_status
from mmrun.run import build
from mmrun.run import metrics as run_metrics
from mmrun.search import Search
from mmrun.search.space import build_arms
from mmrun.search.trials import Trial, Trials, alone

CURVE = (1, 2, 3, 5, 10, 20, 50, 100)  # numbers of trials after which the curve is printed
WITHOUT_EFFECT = ("trials", "parallel_trials")  # keys that another call of the same search may change


def search(overrides: Sequence[str], settings: Sequence[str], launch: Sequence[str], rerun: bool) -> int:
    """Draw, train and judge trials until every arm has its number; say what was found."""
    if rerun:
        raise ConfigError("--rerun repeats runs, not a search; another sweep.seed draws anew")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("sweep: a search trains each run in one process; leave torchrun out")
    name, node = _settings(settings)
    chosen: Search = instantiate(node, "sweep")
    every = build_arms(overrides, chosen)
    corners = [SweepRun.of(overrides) for arm in every for overrides in arm.corners()]
    launcher = Launcher(launch, corners[0].folder.path.parent / ".sweeps")
    check([sweep_run.config for sweep_run in corners])
    metric = _metric(corners[0].config, chosen)
    higher_is_better = run_metrics.higher_is_better(metric)
    file = launcher.folder / f"{name}-{_identity(overrides, node)}.journal"
    said = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    said.print(f"a search for the best val/{metric}, kept in {file}")
    with alone(file):
        trials = [Trials(chosen, arm, file, metric, higher_is_better) for arm in every]
        try:
            over = _run(trials, launcher, said)
        except KeyboardInterrupt:
            said.print("the same command goes on with the search")
            raise
        return _report(trials, chosen, file) if over else 1


def stand_ins(overrides: Sequence[str], settings: Sequence[str]) -> tuple[list[list[str]], int]:
    """Return overrides in which each choice and each end of an interval occurs, and the number of trials."""
    _, node = _settings(settings)
    chosen: Search = instantiate(node, "sweep")
    every = build_arms(overrides, chosen)
    return [overrides for arm in every for overrides in arm.corners()], sum(arm.trials(chosen) for arm in every)


def _settings(overrides: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Compose the YAML file that sweep=NAME chooses with the further words."""
    names = [override.partition("=")[2] for override in overrides if override.partition("=")[0] == "sweep"]
    if not names:
        raise ConfigError(f"{overrides[0]}: say which search is meant: sweep={'|'.join(compose.list_options('sweep'))}")
    return names[-1], compose.load_option(
        "sweep", names[-1], [override for override in overrides if not override.startswith("sweep=")]
    )


def _identity(overrides: Sequence[str], node: dict[str, Any]) -> str:
    decisive = {key: value for key, value in node.items() if key not in WITHOUT_EFFECT}
    return hashlib.sha256(json.dumps([sorted(overrides), decisive], sort_keys=True).encode()).hexdigest()[:8]


def _metric(config: RunConfig, search: Search) -> str:
    """Return the figure that selects."""
    tasks = build.open_data(config).tasks
    names = [run_metrics.metric_name(task.primary_metric, name, FUSED, len(tasks)) for name, task in tasks.items()]
    return names[0] if search.metric is None else search.metric


def _run(arms: Sequence[Trials], launcher: Launcher, said: Console) -> bool:
    """Train round by round, a few trials of each arm in each, so that no arm is ahead; tell whether all are over."""
    while drawn := [(arm, trial) for arm in arms for trial in arm.next()]:
        if not _train(drawn, launcher, said):
            return False
    return True


def _train(drawn: Sequence[tuple[Trials, Trial]], launcher: Launcher, said: Console) -> bool:
    sweep_runs = []
    for arm, trial in drawn:
        said.print(f"{arm.name}: {' '.join(trial.overrides[len(arm.arm.fixed) :])}")
        try:
            sweep_runs.append((arm, trial, SweepRun.of(trial.overrides)))
        except MmrunError as error:  # two choices that do not go together
            said.print(f"failed: {error}")
            arm.refuse(trial, str(error))
    new = [
        item for item in sweep_runs if not (item[1].resumed and determine_status(item[2].folder)["status"] == "pruned")
    ]
    reports = [arm.report(trial) for arm, trial, _ in new]
    reasons = launcher.launch([sweep_run for _, _, sweep_run in new], trials=reports)
    over = True
    for arm, trial, sweep_run in sweep_runs:
        if not arm.tell(trial, sweep_run.folder, reasons.get(sweep_run.folder.path)):
            said.print(f"{sweep_run.folder.path}  {why(sweep_run, reasons)}; the same command goes on")
            over = False
    return over


# --------------------------------------------------------------------------------------------------------- results


def _report(arms: Sequence[Trials], search: Search, file: Path) -> int:
    """Print the best of each arm and how good it is after so many trials; write all of it beside the journal."""
    results = [arm.result() for arm in arms]
    print_table(
        ["", "trials", "finished", "pruned", "failed", "epochs", f"best val/{arms[0].metric}", "its test"],
        [_sweep_runs(result) for result in results],
    )
    kind = "expected best" if search.independent else "best so far"
    longest = max(len(result["curve"]) for result in results)
    marks = sorted({*(k for k in CURVE if k < longest), longest})
    print()
    print_table(
        [f"{kind} after trials", *map(str, marks)],
        [[r["arm"], *(format_number(dict(enumerate(r["curve"], 1)).get(k)) for k in marks)] for r in results],
    )
    table = file.with_suffix(".json")
    write_json(table, {"metric": f"val/{arms[0].metric}", "curve": kind, "arms": results})
    print(f"\n{table}")
    for result in results:
        if result["best"] is not None:
            print(f"best of {result['arm']}: {command(result['best']['overrides'])}")
    failures = [failure for result in results for failure in result["failed"]]
    for failure in failures:
        print(f"failed: {failure['reason']}\n  repeat it: {command(failure['overrides'])}")
    return 1 if failures else 0


def _sweep_runs(result: dict[str, Any]) -> list[str]:
    best = result["best"]
    counts = [*(str(result[key]) for key in ("trials", "finished", "pruned")), str(len(result["failed"]))]
    counts.append(format_number(result["epochs"]))
    if best is None:
        return [result["arm"], *counts, "-", "-"]
    return [result["arm"], *counts, format_number(best["value"]), format_number(best["test"])]
