"""The command that installs what is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmrun import installation
from mmrun.installation import format_pip_command, format_venv_command


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with a .venv whose Python runs mmrun."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    return tmp_path


def test_the_python_of_the_checkout_is_named_from_here(checkout):
    assert format_pip_command("install", "optuna>=4") == ".venv/bin/python -m pip install 'optuna>=4'"


def test_from_another_folder_its_path_is_whole(checkout, monkeypatch):
    (checkout / "elsewhere").mkdir()
    monkeypatch.chdir(checkout / "elsewhere")
    assert format_pip_command("install", "peft") == f"{checkout}/.venv/bin/python -m pip install peft"


def test_an_environment_without_pip_gets_the_command_of_uv(checkout, monkeypatch):
    monkeypatch.setattr(installation, "distributions", lambda name: [])
    assert format_pip_command("uninstall", "torchaudio") == "uv pip uninstall --python .venv/bin/python torchaudio"


def test_setuptools_still_replaces_distutils():
    code = "from mmrun.installation import format_pip_command; format_pip_command('install', 'peft'); import setuptools"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_extra_that_needs_other_versions_gets_an_environment_of_its_own():
    root = Path(__file__).parents[1]
    assert format_venv_command("litert") == f"python3 -m venv litert && litert/bin/pip install '{root}[litert]'"
