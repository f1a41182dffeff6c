"""The real command, in this process, on tiny budgets."""

import json
from pathlib import Path

import pytest

from mmrun.cli import main
from mmrun.hydra_internals import UserConfigs

SMALL = ["modalities=[image,text]", "encoder.image=lenet", "budget.epochs=0.2", "trainer.progress=false"]


class Shell:
    """Types mmrun commands in an empty folder."""

    def __init__(self, capsys, folder):
        self.capsys, self.folder = capsys, folder

    def __call__(self, *words):
        """Give exit code, stdout and stderr."""
        self.capsys.readouterr()
        code = main([str(word) for word in words])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def train(self, *words):
        """Train a small run and give its folder; it must succeed."""
        code, out, err = self("train", *SMALL, *words)
        assert code == 0, err
        return Path(out.split()[-1])


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "cache"))
    yield Shell(capsys, tmp_path)
    UserConfigs.folders = []  # a test's own ./configs ends with it


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def weights(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.glob("checkpoints/*/*/model.safetensors"))}
