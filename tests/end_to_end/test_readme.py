"""Every command and every example of the README, run as it stands there; training is cut to a few steps."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrun import compose

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for _, block in BLOCKS
    for line in block.splitlines()
    if re.match(r"(mmrun|torchrun|eval|scripts/)", line)
]
VERBS_OF_RUNS = (
    "compare",
    "ls",
    "show",
    "note",
    "open",
    "rm",
    "resume",
    "report",
    "eval",
    "diff",
    "verify",
    "ensemble",
)
FEW = ["budget.epochs=null", "budget.steps=2", "modalities=[image,text]", "encoder.image=lenet"]


def block(kind, containing):
    (found,) = (text for name, text in BLOCKS if name == kind and containing in text)
    return found


def products(folder):
    rng = np.random.default_rng(0)
    rows = ["photo,words,label"]
    for row in range(40):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{row}.png")
        rows.append(f"{row}.png,thing {row},{'ab'[row % 2]}")
    (folder / "products.csv").write_text("\n".join(rows) + "\n")


def test_the_commands_were_found():
    assert len(COMMANDS) >= 15


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with six finished runs."""
    folder = tmp_path_factory.mktemp("trained")
    words = ["strategy=scratch,holistic,component", "seed=0,1", "tag=pilot", *FEW]
    subprocess.run([sys.executable, "-m", "mmrun", "train", "-m", *words], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("mmrun") and "--allow" not in c])
def test_a_command_of_the_readme(shell, tmp_path, monkeypatch, trained, command):
    products(tmp_path)
    _, *words = shlex.split(command.replace("FILE", "products.csv"))
    if words[0] == "train":
        manifest = "dataset=manifest" in words
        words += FEW[:2] if manifest else [w for w in FEW if w.split("=")[0] not in command]
        words = [word for word in words if not word.startswith("budget.epochs=3")]
    if words[0] in VERBS_OF_RUNS:
        monkeypatch.chdir(trained)
    if words[0] == "plan":
        words += FEW
    runs = iter(sorted(Path("outputs").glob("*/*component*")))
    words = [str(next(runs)) if word == "RUN" else word for word in words]
    if words[0] == "rm":  # there is no terminal to ask on, and other commands need the run
        words = ["rm", "--yes", str(shutil.copytree(words[1], tmp_path / "copy"))]
    code, out, err = shell(*words)
    assert code == 0, err
    assert out or err


def test_several_processes(tmp_path):
    (command,) = (c for c in COMMANDS if c.startswith("torchrun"))
    words = command.replace("...", "").split()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words[1:], *FEW, "strategy=scratch", "trainer.device=cpu"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout


def test_the_completion_script_is_a_script():
    (command,) = (c for c in COMMANDS if c.startswith("eval"))
    assert command == 'eval "$(mmrun completion bash)"'
    script = subprocess.run([sys.executable, "-m", "mmrun", "completion", "bash"], capture_output=True, text=True)
    assert subprocess.run(["bash", "-n"], input=script.stdout, text=True).returncode == 0


def test_the_scripts_are_there():
    scripts = {c.split()[0] for c in COMMANDS if c.startswith("scripts/")}
    assert scripts == {"scripts/mmrun", "scripts/test"}
    for script in scripts:
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
        assert (ROOT / script).stat().st_mode & 0o100


def test_a_strategy_of_ones_own(shell):
    file = Path("configs/strategy/heads_first.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(block("yaml", "stages:"))
    folder = shell.train("strategy=heads_first")
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"probe", "finetune"}


def test_a_class_of_ones_own(shell, tmp_path):
    for file, kind, containing in (
        ("my_parts/product.py", "python", "class Product"),
        ("configs/fusion/product.yaml", "yaml", "my_parts.product.Product"),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(block(kind, containing))
    (contract,) = (line for _, text in BLOCKS for line in text.splitlines() if "mmrun.testing" in line)
    (train,) = (command for command in COMMANDS if "--allow" in command)
    for line in (contract, shlex.join([*train.replace("mmrun ", "python -m mmrun ", 1).split(), *FEW])):
        line = line.replace("python", sys.executable, 1)
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_table_of_options_is_whole():
    table = README.split("## What may be chosen")[1].split("## The other verbs")[0]
    for group in ("dataset", "fusion", "strategy"):
        for name in compose.list_options(group):
            assert f"`{name}`" in table, f"{group}={name}"
    for kind in compose.DEFAULT_ENCODER:
        for name in compose.list_options(f"encoder/{kind}"):
            assert f"`{name}`" in table, f"encoder/{kind}={name}"
