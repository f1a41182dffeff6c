"""Folders with odd names: what is typed is what is meant, from the data to the predictions."""

import csv
import shlex
from pathlib import Path

import pytest

from mmrun import compose
from mmrun.run.pipeline import run
from mmrun.training.callback import Callback

NAMES = [
    *("my data", "x=1", "~home", """it's "quoted\"""", "данные 数据 café", "100% #1", "a,b;c:d", "[x]{y}", "$HOME &"),
    *("back\\slash", "-m", "!x*@", "null"),
]


class Interrupt(Callback):
    """Stops the run as Ctrl-C does."""

    def on_step_end(self, state, losses):
        raise KeyboardInterrupt


def write_rows(folder):
    """Write a data set of forty rows whose texts are files, and return the file that names them."""
    (folder / "texts").mkdir(parents=True)
    lines = ["letter,size,label"]
    for row in range(40):
        (folder / "texts" / f"{row} # ü.txt").write_text("yes sir" if row % 2 else "no madam")
        lines.append(f"texts/{row} # ü.txt,{row},{'yes' if row % 2 else 'no'}")
    file = folder / "rows.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def compose_overrides(file, outputs):
    return [
        *("dataset=manifest", f"dataset.path={file}", f"outputs={outputs}", f"cache={outputs}/cache"),
        *("encoder.letter=bow", "fusion.dim=4", "budget.steps=2", "trainer.batch_size=8", "trainer.progress=false"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_trained_resumed_evaluated_shown_and_predicts(shell, name):
    overrides = compose_overrides(write_rows(Path("data") / name), Path("runs") / name)
    with pytest.raises(KeyboardInterrupt):
        run(compose.load(overrides), Interrupt(), overrides)
    [folder] = (path.parent for path in (Path("runs") / name).rglob("config.yaml"))
    for verb in ("resume", "eval", "show", "verify"):
        code, _, err = shell(verb, folder)
        assert code == 0, (verb, err)
    code, _, err = shell("predict", folder, Path("data") / name / "rows.csv", "-o", f"./{name}.csv")
    assert code == 0, err
    with open(f"{name}.csv", newline="", encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} <= {"yes", "no"}


def test_every_file_that_is_written_lies_where_it_was_asked_for(shell):
    file = write_rows(Path("data"))
    code, _, err = shell("train", *compose_overrides(file, "out put=~1"))
    assert code == 0, err
    assert {path.name for path in Path().iterdir()} == {"data", "out put=~1"}


def test_the_command_that_data_check_prints_can_be_typed(shell):
    file = write_rows(Path("data") / "it's my = data")
    code, out, err = shell("data", "check", file)
    assert code == 0, err
    command = shlex.split(out.splitlines()[-1].removeprefix("to train: "))
    assert f"dataset={file}" in command
    assert shell(*command[1:], *compose_overrides(file, "out")[2:])[0] == 0


@pytest.mark.parametrize("key", ["outputs", "cache", "dataset.path", "dataset.root"])
def test_a_line_break_is_refused_in_one_line(shell, key):
    file = write_rows(Path("data"))
    overrides = [override for override in compose_overrides(file, "out") if not override.startswith(f"{key}=")]
    code, _, err = shell("train", *overrides, f"{key}=a\nb")
    assert code == 2
    assert err == f"mmrun: {key}=a\\nb: has a line break or control character; use a path without\n"
