"""The `shell` fixture: the command line, in an empty folder; and a run whose training data is gone."""

import shutil

import pytest

from mmrun.cli import main
from tests.cli.people import COLUMNS, WORDS, rows, write
from tests.end_to_end.conftest import shell as shell


@pytest.fixture(scope="session")
def moved_run(tmp_path_factory):
    """A run whose training file and cache are gone, and whose folder was moved."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MMRUN_CACHE", str(folder / "cache"))
        write(folder / "rows.csv", COLUMNS, rows())
        assert main(["train", *WORDS, "budget.epochs=1", "trainer.progress=false"]) == 0
    (folder / "rows.csv").unlink()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    [trained] = (folder / "outputs").glob("*/*")
    return trained.rename(folder / "moved")
