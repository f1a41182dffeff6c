"""mmrun doctor, on this machine and on broken ones."""

import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import mmrun
from mmrun.cli import doctor, main
from mmrun.code_version import LIBRARIES
from mmrun.installation import format_pip_command

PROJECT = tomllib.loads((Path(mmrun.__file__).parents[1] / "pyproject.toml").read_text())["project"]


def read_checks(capsys, code=0):
    assert main(["doctor", "--format", "json"]) == code
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def library_name(requirement):
    return requirement.split(">")[0].split("[")[0]


def test_complete_machine(capsys):
    checks = read_checks(capsys)
    assert all(checks[library]["state"] == "ok" for library in LIBRARIES)
    assert checks["python"]["found"].startswith("3.")
    assert "1 threads" in checks["cpu"]["found"]
    assert not [check for check in checks.values() if check["state"] == "broken"]


def test_all_dependencies_are_checked():
    assert {library_name(need) for need in PROJECT["dependencies"]} == {*LIBRARIES, *doctor.WITHOUT_EFFECT}
    extras = {extra: needs for extra, needs in PROJECT["optional-dependencies"].items() if extra != "dev"}
    assert {extra: library_name(needs[0]) for extra, needs in extras.items()} == doctor.EXTRAS


def test_table_says_how_to_fix_what_is_broken(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_version", lambda library: None if library == "timm" else "1.0")
    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"timm broken not installed: {format_pip_command('install', 'timm')}" in " ".join(lines)
    assert err == "1 broken\n"


def test_torchaudio_for_another_cuda_version(capsys, monkeypatch, tmp_path):
    (tmp_path / "torchaudio.py").write_text(
        "raise RuntimeError('PyTorch has CUDA version 13.2 whereas TorchAudio 13.0')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "find_version", lambda library: "2.11.0")
    assert read_checks(capsys, code=1)["torchaudio"] == {
        "name": "torchaudio",
        "state": "broken",
        "found": "does not fit this torch (PyTorch has CUDA version 13.2 whereas TorchAudio 13.0)",
        "mend": format_pip_command("uninstall", "torchaudio"),
    }


def test_unwritable_cache(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "file" / "cache"))
    assert read_checks(capsys, code=1)["cache"] == {
        "name": "cache",
        "state": "broken",
        "found": f"{tmp_path}/file/cache is not writable",
        "mend": "set MMRUN_CACHE to a writable folder",
    }


@pytest.mark.parametrize("exists", [True, False])
def test_avdigits_folder(capsys, monkeypatch, tmp_path, exists):
    monkeypatch.setenv("MMRUN_AVDIGITS", str(tmp_path if exists else tmp_path / "no"))
    assert read_checks(capsys)["avdigits"]["state"] == ("ok" if exists else "note")


def test_nearly_full_disk(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_DISK", 1 << 60)
    disk = read_checks(capsys)["disk"]
    assert disk["state"] == "note"
    assert disk["mend"] == "checkpoints may not fit; set outputs= to a folder on another disk"
