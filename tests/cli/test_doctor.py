"""mmrun doctor, on this machine and on broken ones."""

import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import mmrun
from mmrun.cli import doctor, main
from mmrun.results.environment import LIBRARIES

PROJECT = tomllib.loads((Path(mmrun.__file__).parents[1] / "pyproject.toml").read_text())["project"]


def found(capsys, code=0):
    assert main(["doctor", "--format", "json"]) == code
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)}


def name(requirement):
    return requirement.split(">")[0].split("[")[0]


def test_a_machine_that_has_everything(capsys):
    checks = found(capsys)
    assert all(checks[library]["state"] == "ok" for library in LIBRARIES)
    assert checks["python"]["found"].startswith("3.")
    assert "1 threads" in checks["cpu"]["found"]
    assert not [check for check in checks.values() if check["state"] == "broken"]


def test_it_knows_all_that_the_project_depends_on():
    assert {name(need) for need in PROJECT["dependencies"]} == {*LIBRARIES, *doctor.WITHOUT_EFFECT}
    extras = {extra: needs for extra, needs in PROJECT["optional-dependencies"].items() if extra != "dev"}
    assert {extra: name(needs[0]) for extra, needs in extras.items()} == doctor.EXTRAS


def test_a_table_with_the_mends(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "find_version", lambda library: None if library == "timm" else "1.0")
    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "timm broken not installed: pip install timm" in lines
    assert err == "1 broken\n"


def test_a_torchaudio_of_another_cuda_is_found(capsys, monkeypatch, tmp_path):
    (tmp_path / "torchaudio.py").write_text(
        "raise RuntimeError('PyTorch has CUDA version 13.2 whereas TorchAudio 13.0')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "find_version", lambda library: "2.11.0")
    assert found(capsys, code=1)["torchaudio"] == {
        "name": "torchaudio",
        "state": "broken",
        "found": "does not fit this torch (PyTorch has CUDA version 13.2 whereas TorchAudio 13.0)",
        "mend": "pip uninstall torchaudio",
    }


def test_a_cache_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "file" / "cache"))
    assert found(capsys, code=1)["cache"] == {
        "name": "cache",
        "state": "broken",
        "found": f"{tmp_path}/file/cache is not writable",
        "mend": "set MMRUN_CACHE to a folder that is",
    }


@pytest.mark.parametrize("there", [True, False])
def test_avdigits_is_found_or_not(capsys, monkeypatch, tmp_path, there):
    monkeypatch.setenv("MMRUN_AVDIGITS", str(tmp_path if there else tmp_path / "no"))
    assert found(capsys)["avdigits"]["state"] == ("ok" if there else "note")


def test_a_full_disk_is_remarked(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "LITTLE_DISK", 1 << 60)
    disk = found(capsys)["disk"]
    assert (disk["state"], disk["mend"]) == ("note", "checkpoints may not fit; set outputs= to another disk")
