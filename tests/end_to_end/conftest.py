"""The real command, in this process, on tiny budgets."""

import json
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from mmrun.cli import main
from mmrun.data.sources.digits import SAMPLE_RATE, digits
from mmrun.hydra_internals import UserConfigs

SMALL = ["modalities=[image,text]", "encoder.image=lenet", "budget.epochs=0.2", "trainer.progress=false"]
FEW = ["dataset=manifest", "dataset.path=digits/rows.csv", "trainer.batch_size=8", *SMALL]  # see few_digits


@pytest.fixture(scope="session")
def folder_of_few_digits(tmp_path_factory):
    """Every seventh image and word of digits, 240 of them, as files; with their sounds in all.csv."""
    folder = tmp_path_factory.mktemp("digits")
    table = digits()
    files = {"rows.csv": ["image,text,label"], "all.csv": ["image,audio,text,label"]}
    for row in range(0, 7 * 240, 7):
        Image.fromarray(table.columns["image"].values[row][0]).save(folder / f"{row}.png")
        soundfile.write(folder / f"{row}.wav", table.columns["audio"].values[row][0], SAMPLE_RATE)
        word, label = table.columns["text"].values[row], table.targets["label"].values[row]
        files["rows.csv"].append(f"{row}.png,{word},{label}")
        files["all.csv"].append(f"{row}.png,{row}.wav,{word},{label}")
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


STRATEGY_NEEDS = {
    **{name: ["encoder.text=transformer"] for name in ("adapter", "prompt")},  # what they can adapt
    "component_pretrained": ["encoder.text=gru"],  # no hub
    "few_shot": ["dataset.shots=3"],
}


class TrainedOnce:
    """Trains strategies on few digits, each once; stages and columns that they share lie in `cache`.

    Args:
        folder: with the digits.
    """

    def __init__(self, folder):
        self.folder, self.cache, self.runs = folder, folder / "cache", {}

    def __call__(self, strategy, *words):
        """Return the folder of a run, which no test may change."""
        words = (*FEW, *words, f"strategy={strategy}", *STRATEGY_NEEDS.get(strategy, []))
        if words not in self.runs:
            outputs = self.folder / f"outputs{len(self.runs)}"
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(self.folder)
                assert main(["train", *words, f"outputs={outputs}", f"cache={self.cache}"]) == 0
            [self.runs[words]] = outputs.glob("*/*")
        return self.runs[words]


@pytest.fixture(scope="session")
def train_once(folder_of_few_digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("strategies")
    (folder / "digits").symlink_to(folder_of_few_digits)
    return TrainedOnce(folder)


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
