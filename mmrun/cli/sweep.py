"""mmrun train -m: many runs from one command."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mmrun import compose
from mmrun.cli.launch import Cell, Launcher, check, command, why
from mmrun.errors import ConfigError
from mmrun.results.formatting import several
from mmrun.results.index import headline


def sweep(words: Sequence[str], again: bool) -> int:
    """Compose and check every run, train what is not finished, and say at the end what became of each."""
    words, launch, search = sort(words)
    if search:
        return _search(words, search, launch, again)
    refuse_intervals(words)
    asked = [Cell.of(job) for job in compose.expand(words)]
    cells = list({cell.folder.path: cell for cell in asked}.values())
    launcher = Launcher(launch, cells[0].folder.path.parent / ".sweeps")
    left = [cell for cell in cells if again or not cell.folder.finished]
    check([cell.config for cell in left])
    said = Console(stderr=True)
    if len(cells) < len(asked):
        said.print(f"{len(asked) - len(cells)} of {len(asked)} combinations ask for a run that another asks for too")
    finished = f", {len(cells) - len(left)} of them finished before" if len(left) < len(cells) else ""
    said.print(f"a sweep of {several(len(cells), 'run')}{finished}", highlight=False)
    try:
        reasons = launcher.launch(cells, again)
    except KeyboardInterrupt:
        done = sum(cell.folder.finished for cell in cells)
        said.print(f"{done} of {several(len(cells), 'run')} finished; the same command goes on", highlight=False)
        raise
    return _report(cells, reasons)


def _search(words: Sequence[str], search: Sequence[str], launch: Sequence[str], again: bool) -> int:
    try:
        import optuna  # noqa: F401 - only to know; it is an extra
    except ModuleNotFoundError:
        raise ConfigError(f"{search[0]}: a search needs Optuna; pip install 'mmrun[tune]'") from None
    from mmrun.cli import search as searching

    return searching.search(words, search, launch, again)


def sort(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Part the words of the runs from the launcher's (hydra/launcher=joblib) and the search's (sweep=tpe)."""
    keys = {word: word.partition("=")[0].lstrip("+~") for word in words}
    launch = [word for word, key in keys.items() if key.startswith("hydra")]
    search = [word for word, key in keys.items() if key == "sweep" or key.startswith("sweep.")]
    return [word for word in words if word not in launch + search], launch, search


def refuse_intervals(words: Sequence[str]) -> None:
    """Refuse what only a search can draw from."""
    for word in words:
        if "interval(" in word:
            raise ConfigError(f"{word}: an interval is drawn from by a search; add sweep=random or sweep=tpe")


def _report(cells: Sequence[Cell], reasons: Mapping[Path, str]) -> int:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    failed = []
    for cell in cells:
        if not cell.folder.finished:
            failed.append(cell)
            continue
        figure, value = headline(cell.folder.metrics())
        console.print(f"{cell.folder.path}" if value is None else f"{cell.folder.path}  test/{figure} {value:.4f}")
    for cell in failed:
        console.print(f"{cell.folder.path}  {why(cell, reasons)}")
        console.print(f"  repeat it: {command(cell.words)}")
    console.print(f"{len(cells) - len(failed)} of {several(len(cells), 'run')} finished")
    return 1 if failed else 0
