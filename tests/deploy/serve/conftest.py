"""A run on things, and a server of it."""

import shutil

import pytest

from tests.deploy.serve.client import start
from tests.deploy.serve.things import WORDS, write_things


@pytest.fixture(scope="session")
def things_run(tmp_path_factory):
    """A run that reads a picture, a sound, a note, a table and a series; its data is gone."""
    from mmrun.cli import main

    folder = tmp_path_factory.mktemp("things")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MMRUN_CACHE", str(folder / "cache"))
        write_things(folder)
        assert main(["train", *WORDS]) == 0
    shutil.rmtree(folder / "cache", ignore_errors=True)
    (folder / "things.csv").unlink()
    [trained] = (folder / "outputs").glob("*/*")
    return trained


@pytest.fixture(scope="session")
def served(things_run, fork_server, tmp_path_factory):
    """A client of a server of this run."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    client = start(fork_server, tmp_path_factory.mktemp("served"), things_run, "--port", "0").wait()
    yield client
    client.process.terminate()
    client.process.wait(30)
