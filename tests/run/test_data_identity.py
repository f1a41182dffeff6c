"""A result belongs to the data that it was computed from: changed rows, labels and files are noticed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrun import compose
from mmrun.cli import main
from mmrun.cli.launch import SweepRun, check_data
from mmrun.errors import DataError
from mmrun.run.data import open_data
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.training.callback import Callback, NullCallback

MEND = "restore the data it was trained on, or repeat the run with --rerun"


class Interrupt(Callback):
    """Stops the run as Ctrl-C does."""

    def on_step_end(self, state, losses):
        raise KeyboardInterrupt


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The words that train a tiny run on forty pictures."""
    monkeypatch.chdir(tmp_path)
    Path("img").mkdir()
    lines = ["photo,size,label,split"]
    for row in range(40):
        label = "cat" if row % 2 else "dog"
        Image.fromarray(np.full((8, 8), 10 + row, dtype=np.uint8)).save(f"img/{row}.bmp")  # all of one size
        split = ("train", "train", "train", "val", "test")[row % 5]
        lines.append(f"img/{row}.bmp,{row}.5,{label},{split}")
    Path("my.csv").write_text("\n".join(lines) + "\n")
    return [
        *("dataset=manifest", "dataset.path=my.csv", "encoder.photo=lenet", "encoder.photo.preprocess.size=8"),
        *(
            "fusion.dim=4",
            "budget.steps=2",
            "trainer.batch_size=8",
            "trainer.progress=false",
            f"cache={tmp_path}/cache",
        ),
    ]


def swap_labels():
    lines = Path("my.csv").read_text().splitlines()
    for number in range(4, 8):
        lines[number] = lines[number].replace("cat", "?").replace("dog", "cat").replace("?", "dog")
    Path("my.csv").write_text("\n".join(lines) + "\n")


def rewrite_picture(number):
    """Change the content of a file, but neither its size nor its time."""
    file = Path(f"img/{number}.bmp")
    stat = file.stat()
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size


def train(words):
    return run(compose.load(words), NullCallback())


def test_training_again_on_swapped_labels_is_refused_and_rerun_repeats_it(words, capsys):
    folder = train(words)
    before = folder.read_metrics()
    swap_labels()
    message = (
        f"{folder.path}: the data set has changed since the run was trained: label of 4 rows changed, first my.csv:5"
    )
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err == f"mmrun: {message}; {MEND}\n"
    assert folder.read_metrics() == before
    again = run(compose.load(words), NullCallback(), rerun=True)
    assert again.path == folder.path
    assert again.read_metrics()["dataset"]["fingerprint"] != before["dataset"]["fingerprint"]
    assert main(["train", *words]) == 0


def test_an_interrupted_run_does_not_go_on_with_other_data(words, capsys):
    config = compose.load([*words, "trainer.save_every=0"])
    folder = SweepRun.compose([*words, "trainer.save_every=0"]).folder
    with pytest.raises(KeyboardInterrupt):
        run(config, Interrupt())
    rewrite_picture(7)
    assert main(["resume", str(folder.path)]) == 2
    assert capsys.readouterr().err == (
        f"mmrun: {folder.path}: the data set has changed since the run was trained: "
        f"photo of 1 row changed, first img/7.bmp; {MEND}\n"
    )
    rewrite_picture(7)  # back again
    assert main(["resume", str(folder.path)]) == 0
    assert len(folder.read_starts()) == 2


def test_a_finished_run_is_not_opened_with_other_data(words):
    folder = train(words)
    reopen(folder, NullCallback())
    rewrite_picture(3)
    with pytest.raises(DataError, match=r"photo of 1 row changed, first img/3\.bmp; restore the data"):
        reopen(folder, NullCallback())
    folder.data_file.unlink()  # the fingerprint is in metrics.json as well, but not the rows
    with pytest.raises(DataError, match="the data set has changed since the run was trained; restore the data"):
        reopen(folder, NullCallback())


def test_a_stored_stage_is_reused_only_for_the_same_contents(words):
    words = [*words, "strategy=component"]
    reused = []
    for number, change in enumerate((None, None, rewrite_picture)):
        if change is not None:
            change(0)
        stages = train([*words, f"outputs=outputs{number}"]).read_metrics()["cost"]["stages"]
        reused.append([name for name, stage in stages.items() if stage["reused"]])
    assert reused == [[], ["pretrain-photo", "pretrain-tabular"], []]


def test_a_sweep_is_refused_before_its_first_run_starts(words, capsys):
    folder = train([*words, "seed=1"])
    swap_labels()
    assert main(["train", "-m", *words, "seed=0,1"]) == 2
    assert f"mmrun: {folder.path}: the data set has changed" in capsys.readouterr().err
    assert [path.parent for path in Path("outputs").rglob("metrics.json")] == [folder.path]
    with pytest.raises(DataError):
        check_data([SweepRun.compose([*words, "seed=1"])])


def test_a_run_of_version_0_1_0_is_told_by_the_sizes_it_recorded(words):
    folder = train(words)
    recorded = json.loads(folder.metrics_file.read_text())
    recorded["dataset"]["fingerprint"] = open_data(compose.load(words)).table.old_fingerprint
    folder.metrics_file.write_text(json.dumps(recorded))
    folder.data_file.unlink()
    reopen(folder, NullCallback())
    swap_labels()
    with pytest.raises(DataError):
        reopen(folder, NullCallback())


@pytest.mark.parametrize("content", [b"", b"PK no zip", None])
def test_a_damaged_record_is_said(words, content):
    folder = SweepRun.compose(words).folder
    with pytest.raises(KeyboardInterrupt):
        run(compose.load(words), Interrupt())
    whole = folder.data_file.read_bytes()
    folder.data_file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DataError, match=r"data\.npz: damaged \(.*\); put it back, or remove it"):
        train(words)


def test_an_unfinished_run_without_a_record_says_that_changes_cannot_be_noticed(words, capsys):
    folder = SweepRun.compose(words).folder
    with pytest.raises(KeyboardInterrupt):
        run(compose.load(words), Interrupt())
    folder.data_file.unlink()
    assert main(["train", *words]) == 0
    message = f"{folder.path} has no record of its data, so changes since it was started cannot be noticed"
    assert message in " ".join(capsys.readouterr().err.split())
    assert folder.data_file.exists()


OWN_SOURCE = """
import numpy as np
from mmrun.data.table import Column, Table, Target


def cells(file, kinds):
    numbers = [float(word) for word in open(file).read().split()]
    rows = len(numbers)
    columns = {"cells": Column("tabular", [{"x": number} for number in numbers])}
    targets = {"label": Target("classification", np.arange(rows) % 2, ["no", "yes"])}
    split = np.array(["train", "train", "val", "test"] * (rows // 4))
    return Table([str(row) for row in range(rows)], columns, targets, split, fingerprint="always the same")
"""


def test_the_rows_of_a_source_that_forgets_its_content_count_as_well(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MMRUN_ALLOW", "own_source")
    Path("own_source.py").write_text(OWN_SOURCE)
    Path("configs/dataset").mkdir(parents=True)
    Path("configs/dataset/own.yaml").write_text(
        "_target_: own_source.cells\nfile: numbers.txt\nkinds: {cells: tabular}\nlabelled: 1.0\nshots: null\n"
    )
    Path("numbers.txt").write_text(" ".join(map(str, range(40))))
    words = ["train", "dataset=own", "budget.steps=1", "trainer.progress=false", f"cache={tmp_path}/cache"]
    assert main(words) == 0
    assert main(words) == 0
    Path("numbers.txt").write_text(" ".join(map(str, [*range(39), 100])))
    capsys.readouterr()
    assert main(words) == 2
    assert "cells of 1 row changed, first row 39; " in capsys.readouterr().err
