"""mmrun train -m: many runs from one command."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmrun import compose
from mmrun.cli.console import Console
from mmrun.cli.launch import Launcher, SweepRun, check_configs, explain_unfinished
from mmrun.cli.output import echo, is_first_process, is_quiet
from mmrun.errors import ConfigError
from mmrun.overrides import check_overrides, is_of_launcher
from mmrun.results.formatting import pluralize


def sweep(overrides: Sequence[str], rerun: bool, num_jobs: int = 1) -> int:
    """Compose and check every run, train those that are not finished, and report on all.

    Args:
        overrides: with comma-separated values, and those of the launcher and of a search.
        rerun: train finished runs again.
        num_jobs: runs that train at a time on this machine.

    Returns:
        The exit code: 1 if a run failed, else 0.

    Raises:
        ConfigError: a run cannot be composed or built.
    """
    overrides, launch, search = split_overrides(overrides)
    if search:
        from mmrun.cli.search import search as run_search  # imports Optuna

        return run_search(overrides, search, launch, rerun, num_jobs)
    composer = compose.Composer()
    combinations = [SweepRun.compose(run_overrides, composer) for run_overrides in compose.expand_sweep(overrides)]
    sweep_runs = list({sweep_run.folder.path: sweep_run for sweep_run in combinations}.values())
    launcher = Launcher(launch, sweep_runs[0].folder.path.parent / ".sweeps", num_jobs)
    to_train = [sweep_run for sweep_run in sweep_runs if rerun or not sweep_run.folder.finished]
    console = Console(stderr=True, highlight=False, quiet=is_quiet() or not is_first_process())
    with console.status(f"checking {pluralize(len(to_train), 'run')}", refresh_per_second=4):
        notes = check_configs([sweep_run.config for sweep_run in to_train])
    for note in notes:
        console.print(note, soft_wrap=not console.is_terminal)
    if len(sweep_runs) < len(combinations):
        console.print(
            f"{len(combinations) - len(sweep_runs)} of {len(combinations)} combinations are the same run as another"
        )
    finished = f", {len(sweep_runs) - len(to_train)} already finished" if len(to_train) < len(sweep_runs) else ""
    console.print(f"a sweep of {pluralize(len(sweep_runs), 'run')}{finished}")
    try:
        with launcher:
            reasons = launcher.launch(sweep_runs, rerun)
    except KeyboardInterrupt:
        num_finished = sum(sweep_run.folder.finished for sweep_run in sweep_runs)
        console.print(f"{num_finished} of {pluralize(len(sweep_runs), 'run')} finished; the same command continues")
        raise
    return _report(sweep_runs, reasons)


def print_configs(overrides: Sequence[str]) -> int:
    """Print the config of every run of a sweep, as YAML documents, instead of training.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: they are those of a search, which draws values as it goes.
    """
    overrides, _, search = split_overrides(overrides)
    if search:
        raise ConfigError(f"{search[0]}: --cfg prints what is known before a search; leave it out")
    composer = compose.Composer()
    for run_overrides in compose.expand_sweep(overrides):
        echo(f"---  # {' '.join(run_overrides)}")
        echo(compose.as_yaml(composer.load(run_overrides)), end="")
    return 0


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Split overrides by what they configure.

    Returns:
        Those of the runs, of the launcher (hydra/launcher=joblib), and of the search (sweep=tpe).
    """
    check_overrides(overrides)
    runs, launch, search = [], [], []
    for override in dict.fromkeys(overrides):
        key = override.partition("=")[0].lstrip("+~")
        if is_of_launcher(key):
            launch.append(override)
        elif key == "sweep" or key.startswith("sweep."):
            search.append(override)
        else:
            runs.append(override)
    return runs, launch, search


def _report(sweep_runs: Sequence[SweepRun], reasons: Mapping[Path, str]) -> int:
    from mmrun.cli.result import print_sweep_result  # imports torch

    failures = {}
    for sweep_run in sweep_runs:
        if not sweep_run.folder.finished:
            failures[sweep_run.folder.path] = explain_unfinished(sweep_run, reasons)
    print_sweep_result(sweep_runs, failures)
    return 1 if failures else 0
