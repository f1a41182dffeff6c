"""The real command, in this process, on tiny budgets."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmrun.cli import main
from mmrun.data.sources.digits import digits
from mmrun.hydra_internals import UserConfigs

SMALL = ["modalities=[image,text]", "encoder.image=lenet", "budget.epochs=0.2", "trainer.progress=false"]
FEW = ["dataset=manifest", "dataset.path=digits/rows.csv", "trainer.batch_size=8", *SMALL]  # see few_digits


@pytest.fixture(scope="session")
def folder_of_few_digits(tmp_path_factory):
    """Every seventh image and word of digits, 240 of them, as files."""
    folder = tmp_path_factory.mktemp("digits")
    table = digits()
    lines = ["image,text,label"]
    for row in range(0, 7 * 240, 7):
        Image.fromarray(table.columns["image"].values[row][0]).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{table.columns['text'].values[row]},{table.targets['label'].values[row]}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return folder


class Shell:
    """Types mmrun commands in an empty folder."""

    def __init__(self, capsys, folder):
        self.capsys, self.folder = capsys, folder
        self.words = SMALL

    def __call__(self, *words):
        """Give exit code, stdout and stderr."""
        self.capsys.readouterr()
        code = main([str(word) for word in words])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def train(self, *words):
        """Train a small run and give its folder; it must succeed."""
        code, out, err = self("train", *self.words, *words)
        assert code == 0, err
        return Path(out.split()[-1])


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "cache"))
    yield Shell(capsys, tmp_path)
    UserConfigs.folders = []  # a test's own ./configs ends with it


@pytest.fixture
def few_digits(shell, folder_of_few_digits):
    """Train on 240 digits in place of 1,797: as many steps an epoch, of 8 rows each, in a third of the time."""
    (shell.folder / "digits").symlink_to(folder_of_few_digits)
    shell.words = FEW


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def weights(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.glob("checkpoints/*/*/model.safetensors"))}
