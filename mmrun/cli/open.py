"""mmrun open: a run's report, or its folder."""

import argparse
import os
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

from mmrun.cli.arguments import add_run
from mmrun.cli.output import echo
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve

HELP = "Open a run's report, or its folder if there is none. Where there is no display, print the path."

REPORT = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)


def run(args: argparse.Namespace) -> int:
    """Print the path, and open it where there is a display."""
    path = find_page(resolve(args.run))
    echo(path)
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        _show(path)
    return 0


def find_page(run: RunFolder) -> Path:
    """Return what shows a run best.

    Args:
        run: its folder, OUTPUTS/EXPERIMENT/NAME.

    Returns:
        report.html in the run folder, in that of its experiment, or in the outputs; else the run folder.
    """
    folder = run.path.absolute()
    for parent in (folder, *folder.parents[:2]):
        page = parent / REPORT
        if page.is_file() and not page.is_symlink():
            return page
    return folder


def _show(path: Path) -> None:
    """Open a page in the browser, or a folder in the file manager."""
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if path.is_dir() and opener is not None:
        subprocess.Popen([opener, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    else:
        webbrowser.open(path.as_uri())
