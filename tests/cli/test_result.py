"""What is printed when runs have ended, over fabricated runs."""

from pathlib import Path

import pytest

from mmrun.cli.launch import SweepRun
from mmrun.cli.result import build_sweep_table, find_varying_keys, print_result, print_sweep_result, suggest_after_sweep
from mmrun.results.folder import RunFolder
from tests.results.fabricate import finished, started


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path("outputs")


def sweep_run(folder, *overrides):
    return SweepRun(list(overrides), None, folder)


def test_the_result_of_a_run_ends_with_its_folder_and_the_next_commands(outputs, capsys):
    folder = finished(outputs, 0.6, "component")
    print_result(RunFolder(folder.path))
    out, err = capsys.readouterr()
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].split() == ["metric", "val", "test"]
    header = next(line for line in lines if line.startswith("stage"))
    assert header.split() == ["stage", "epochs", "steps", "samples", "time", "FLOPs", "trainable"]
    row = next(line for line in lines if line.startswith("train "))
    assert row.split() == ["train", "10", "230", "14,370", "10.0", "s", "1.5T", "25.3k"]
    assert lines[-1] == str(folder.path)
    assert err == f"next: mmrun show {folder.name}\n"


def test_a_run_outside_of_outputs_is_named_by_its_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = finished(Path("my results"), 0.6, "component")
    print_result(folder)
    assert capsys.readouterr().err == f"next: mmrun show '{folder.path}'\n"


def test_only_the_first_process_prints(outputs, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    print_result(finished(outputs, 0.6))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("runs", "keys"),
    [
        ([["strategy=a", "seed=0"], ["strategy=b", "seed=0"]], ["strategy"]),
        ([["encoder/image=cnn", "+seed=0"], ["encoder/image=vgg", "+seed=1"]], ["encoder/image", "seed"]),
        ([["~augment"], ["augment=mixup"]], ["augment"]),
        (
            [["objective@strategy.stages.a.objective=x"], ["objective@strategy.stages.a.objective=y"]],
            ["strategy.stages.a.objective"],
        ),
        ([["seed=0", "fusion=sum"]], ["seed"]),
    ],
)
def test_what_varies_in_a_sweep(runs, keys):
    assert find_varying_keys(runs) == keys


def test_a_sweep_ends_in_a_table_with_the_best_marked_and_failures_explained(outputs, capsys):
    good = sweep_run(finished(outputs, 0.6, "scratch"), "strategy=scratch", "seed=0", "budget.epochs=1")
    better = sweep_run(finished(outputs, 0.7, "component"), "strategy=component", "seed=0", "budget.epochs=1")
    bad = sweep_run(started(outputs, "frozen"), "strategy=frozen", "seed=0", "budget.epochs=1")
    table = build_sweep_table([good, better, bad])
    assert table.header == ["strategy", "test/accuracy", "time", "run"]
    assert [row[:3] for row in table.rows] == [
        ["scratch", "0.6000", "10.0 s"],
        ["component", "* 0.7000", "10.0 s"],
        ["frozen", "not finished", "-"],
    ]
    assert table.styles == {(1, 1): "best", (2, 1): "failed"}
    print_sweep_result([good, better, bad], {bad.folder.path: "failed: the loss is nan"})
    out, err = capsys.readouterr()
    assert out.splitlines()[-4:] == [
        f"{bad.folder.path}: failed: the loss is nan",
        "  repeat it: mmrun train strategy=frozen seed=0 budget.epochs=1",
        "",
        "2 of 3 runs finished",
    ]
    assert err == "next: mmrun compare outputs/default --by strategy --against scratch\n"


def test_seeds_are_paired_and_not_compared(outputs):
    runs = []
    for strategy in ("scratch", "component"):
        for seed in (0, 1):
            folder = finished(outputs, 0.6, strategy, seed)
            runs.append(sweep_run(folder, f"strategy={strategy}", f"seed={seed}"))
    [command] = suggest_after_sweep(runs)
    assert command[2:] == ["outputs/default", "--by", "strategy", "--against", "scratch", "--paired", "seed"]
    [command] = suggest_after_sweep(runs[:2])
    assert command[2:] == ["outputs/default", "--by", "strategy"]
    assert suggest_after_sweep(runs[:1]) == [["mmrun", "show", runs[0].folder.name]]


def test_folds_are_paired_and_not_compared(outputs):
    runs = []
    for seed, strategy in enumerate(("scratch", "component")):
        for fold in (0, 1):
            folder = finished(outputs, 0.6, strategy, seed * 2 + fold)
            runs.append(sweep_run(folder, f"strategy={strategy}", f"dataset.fold={fold}"))
    [command] = suggest_after_sweep(runs)
    assert command[2:] == ["outputs/default", "--by", "strategy", "--against", "scratch", "--paired", "dataset.fold"]
