"""Where a run starts from: parts of another run, few labels, drawn rows; and weights that are averages."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmrun import compose
from mmrun.data.split import draw_bootstrap_rows
from mmrun.run.data import open_data
from tests.end_to_end.conftest import FEW, metrics

pytestmark = pytest.mark.usefixtures("few_digits")


def final(folder, stage="train"):
    return load_file(folder / f"checkpoints/{stage}/best/model.safetensors")


def of_part(tensors, part):
    return {name: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}


def test_an_encoder_starts_from_a_part_of_another_run(shell):
    first = shell.train("strategy=scratch")
    frozen = shell.train("strategy=frozen", f"encoder.image.init={first.name}:encoder.image")
    mine, given = of_part(final(frozen), "encoder.image"), of_part(final(first), "encoder.image")
    assert mine.keys() == given.keys()
    assert all(torch.equal(mine[name], given[name]) for name in given)
    other = shell.train("strategy=frozen")
    assert not torch.equal(next(iter(of_part(final(other), "encoder.image").values())), next(iter(given.values())))
    assert shell("verify", frozen)[0] == 0

    first.rename(first.with_name("gone"))  # a finished run stands by itself
    assert shell("verify", frozen)[0] == 2  # but its first stage cannot begin again
    assert shell("eval", frozen, "--missing", "text")[0] == 0


def test_what_cannot_be_started_from_is_said(shell):
    first = shell.train("strategy=scratch")
    part = f"{first.name}:encoder"
    for words, told in (
        ([f"encoder.image.init={first.name}"], f"'{first.name}' names no part of a run; write RUN:encoder.image"),
        (["encoder.image.init=digits-nothing:encoder.image"], "encoder.image.init: no run 'digits-nothing'"),
        ([f"encoder.image.init={part}.audio"], "has no part 'encoder.audio' (it has encoder.image, encoder.text, fus"),
        ([f"encoder.image.init={part}.image", "encoder.image=cnn"], "encoder.image do not fit this encoder: "),
        (["encoder.imge.init=a:b"], "encoder.imge"),
    ):
        code, _, err = shell("train", *FEW, *words)
        assert (code, told in err) == (2, True), err


def test_shots_are_rows_of_each_class(shell):
    opened = open_data(compose.load([*FEW, "dataset.shots=3"]))
    labels = next(iter(opened.table.targets.values())).values[opened.rows["labelled"]]
    assert np.bincount(labels).tolist() == [3] * 10
    both = "dataset: both labelled and shots are set; add dataset.labelled=1 to drop one"
    for words, told in (
        (["dataset.shots=0"], "dataset.shots: 0 is not a whole number above 0"),
        (["dataset.shots=3", "dataset.labelled=0.1"], both),
    ):
        assert shell("train", *FEW, *words)[::2] == (2, f"mmrun: {told}\n")


def test_bootstrap_rows_repeat_some_and_leave_out_a_third():
    rows = np.arange(1000, 3000)
    drawn = draw_bootstrap_rows(rows, 0)
    assert len(drawn) == 2000
    assert set(drawn) <= set(rows)
    assert abs(len(set(drawn)) / 2000 - (1 - np.exp(-1))) < 0.02
    assert draw_bootstrap_rows(rows, 0).tolist() == drawn.tolist() != draw_bootstrap_rows(rows, 1).tolist()


def test_a_run_on_drawn_rows(shell):
    plain, drawn = (
        shell.train("strategy=scratch"),
        shell.train("strategy=scratch", "strategy.stages.train.rows=bootstrap"),
    )
    assert metrics(plain)["metrics"] != metrics(drawn)["metrics"]


def test_the_average_is_what_counts(shell):
    plain = shell.train("strategy=scratch")
    averaged = shell.train("strategy=scratch", "strategy.stages.train.ema_decay=0.9")
    one, other = final(plain), final(averaged)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    kept = load_file(averaged / "checkpoints/train/last/model.safetensors")
    assert all(torch.equal(kept[name], other[name]) for name in kept)  # the stage's end is its best evaluation here
    assert shell("verify", averaged)[0] == 0


def test_a_decay_that_is_none_is_said(shell):
    told = "mmrun: strategy.stages.train.ema_decay: 1 is not a number above 0 and below 1\n"
    assert shell("train", *FEW, "strategy=scratch", "strategy.stages.train.ema_decay=1")[::2] == (2, told)
