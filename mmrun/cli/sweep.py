"""mmrun train -m: many runs from one command."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mmrun import compose
from mmrun.cli.launch import Launcher, SweepRun, check, command, why
from mmrun.errors import ConfigError
from mmrun.results.formatting import pluralize
from mmrun.results.index import find_primary_metric


def sweep(overrides: Sequence[str], rerun: bool) -> int:
    """Compose and check every run, train what is not finished, and say at the end what became of each."""
    overrides, launch, search = sort(overrides)
    if search:
        return _search(overrides, search, launch, rerun)
    refuse_intervals(overrides)
    asked = [SweepRun.of(job) for job in compose.expand_sweep(overrides)]
    sweep_runs = list({sweep_run.folder.path: sweep_run for sweep_run in asked}.values())
    launcher = Launcher(launch, sweep_runs[0].folder.path.parent / ".sweeps")
    left = [sweep_run for sweep_run in sweep_runs if rerun or not sweep_run.folder.finished]
    check([sweep_run.config for sweep_run in left])
    said = Console(stderr=True)
    if len(sweep_runs) < len(asked):
        said.print(
            f"{len(asked) - len(sweep_runs)} of {len(asked)} combinations ask for a run that another asks for too"
        )
    finished = f", {len(sweep_runs) - len(left)} of them finished before" if len(left) < len(sweep_runs) else ""
    said.print(f"a sweep of {pluralize(len(sweep_runs), 'run')}{finished}", highlight=False)
    try:
        reasons = launcher.launch(sweep_runs, rerun)
    except KeyboardInterrupt:
        done = sum(sweep_run.folder.finished for sweep_run in sweep_runs)
        said.print(f"{done} of {pluralize(len(sweep_runs), 'run')} finished; the same command goes on", highlight=False)
        raise
    return _report(sweep_runs, reasons)


def _search(overrides: Sequence[str], search: Sequence[str], launch: Sequence[str], rerun: bool) -> int:
    try:
        import optuna  # noqa: F401 - only to know; it is an extra
    except ModuleNotFoundError:
        raise ConfigError(f"{search[0]}: a search needs Optuna; pip install 'mmrun[tune]'") from None
    from mmrun.cli import search as searching

    return searching.search(overrides, search, launch, rerun)


def sort(overrides: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Part the words of the runs from the launcher's (hydra/launcher=joblib) and the search's (sweep=tpe)."""
    keys = {override: override.partition("=")[0].lstrip("+~") for override in overrides}
    launch = [override for override, key in keys.items() if key.startswith("hydra")]
    search = [override for override, key in keys.items() if key == "sweep" or key.startswith("sweep.")]
    return [override for override in overrides if override not in launch + search], launch, search


def refuse_intervals(overrides: Sequence[str]) -> None:
    """Refuse what only a search can draw from."""
    for override in overrides:
        if "interval(" in override:
            raise ConfigError(f"{override}: an interval is drawn from by a search; add sweep=random or sweep=tpe")


def _report(sweep_runs: Sequence[SweepRun], reasons: Mapping[Path, str]) -> int:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    failed = []
    for sweep_run in sweep_runs:
        if not sweep_run.folder.finished:
            failed.append(sweep_run)
            continue
        figure, value = find_primary_metric(sweep_run.folder.read_metrics())
        console.print(
            f"{sweep_run.folder.path}" if value is None else f"{sweep_run.folder.path}  test/{figure} {value:.4f}"
        )
    for sweep_run in failed:
        console.print(f"{sweep_run.folder.path}  {why(sweep_run, reasons)}")
        console.print(f"  repeat it: {command(sweep_run.overrides)}")
    console.print(f"{len(sweep_runs) - len(failed)} of {pluralize(len(sweep_runs), 'run')} finished")
    return 1 if failed else 0
