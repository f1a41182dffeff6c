"""Texts and series of many lengths: a run whose batches are cropped learns and answers as one that pads them all."""

from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmrun import compose
from mmrun.head import FUSED
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.build_stage import build_stage
from mmrun.run.estimate import open_undecoded
from mmrun.run.opening import reopen
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.training import engine
from mmrun.training.callback import NullCallback
from tests.end_to_end.conftest import metrics, weights

ROWS = 200


@pytest.fixture
def remarks(shell):
    """Two texts of 1 to 60 words, a series of 1 to 60 steps and a cell; some are missing."""
    draw = np.random.default_rng(0)
    lines = ["note,reply,path,speed,turn"]
    for row in range(ROWS):
        texts = [" ".join(draw.choice(["go", "left", "right", "slow"], draw.integers(1, 61))) for _ in range(2)]
        path = " ".join(f"{step:.2f}" for step in draw.normal(size=draw.integers(2, 61)))
        lines.append(f"{texts[0]},{texts[1] if row % 5 else ''},{path},{row / 7:.2f},{row % 3}")
    Path("remarks.csv").write_text("\n".join(lines) + "\n")
    words = ["dataset=manifest", "dataset.path=remarks.csv", "dataset.target=turn", "trainer.batch_size=16"]
    longest = [f"encoder.{name}.preprocess.max_tokens=64" for name in ("note", "reply")]
    return [
        *words,
        *longest,
        "encoder.note=transformer",
        "encoder.path=cnn1d",
        "encoder.path.preprocess.num_steps=64",
        "fusion=attention",
        "budget.epochs=2",
    ]


@pytest.fixture
def pad(monkeypatch):
    """Return what makes all runs read padded batches from then on."""
    return lambda: monkeypatch.setattr(Multimodal, "croppable", ())


def trained(shell, *words):
    code, out, err = shell("train", *words)
    assert code == 0, err
    return Path(out.split()[-1])


def test_evaluation_gives_what_padded_rows_give(shell, remarks, pad):
    folder = trained(shell, *remarks, "trainer.eval_batch_size=3")
    session = reopen(RunFolder(folder), NullCallback())

    def evaluate():
        batches = list(session.ordered("test", session.columns))
        widths = {batch.inputs[name]["mask"].shape[1] for batch in batches for name in ("note", "path")}
        return widths, engine.predict(session.model, [FUSED], iter(batches), Accelerator(cpu=True))

    cropped_widths, cropped = evaluate()
    pad()
    padded_widths, padded = evaluate()
    assert len(cropped_widths) > 1
    assert padded_widths == {64}
    torch.testing.assert_close(cropped, padded, atol=1e-5, rtol=1e-5)


def test_training_gives_what_padded_rows_give(remarks, pad, tmp_path):
    """Without dropout, whose random numbers depend on the width, gradients agree as well."""
    config = compose.load([*remarks, *(f"encoder.{name}.dropout=0" for name in ("note", "reply", "path", "tabular"))])
    session = open_undecoded(config, tmp_path, NullCallback())

    def compute_gradients():
        built = build_stage(session, session.stages["train"])
        for step in range(1, 4):
            built.learner(built.batches.batch(step))["loss"].backward()
        gradients = {name: p.grad.clone() for name, p in built.learner.named_parameters() if p.grad is not None}
        built.learner.zero_grad()
        return built.flops_per_step, gradients

    cropped_flops, cropped = compute_gradients()
    pad()
    padded_flops, padded = compute_gradients()
    torch.testing.assert_close(cropped, padded, atol=1e-5, rtol=1e-5)
    assert 0.7 * padded_flops < cropped_flops < 0.99 * padded_flops


@pytest.mark.parametrize("words", [[], ["trainer.group_by_length=true"]])
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(shell, remarks, monkeypatch, words):
    remarks = [*remarks, *words]
    whole = trained(shell, *remarks, "outputs=whole")
    on_checkpoint = StageCheckpoints.on_checkpoint

    def interrupted(self, state):
        on_checkpoint(self, state)
        if state.step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StageCheckpoints, "on_checkpoint", interrupted)
        assert shell("train", *remarks, "trainer.save_every=0")[0] == 130
    [folder] = Path("outputs").glob("*/*")
    assert shell("resume", folder)[0] == 0
    assert weights(folder) == weights(whole)
    assert metrics(folder)["metrics"] == metrics(whole)["metrics"]


def test_features_of_all_tokens_are_kept(shell, remarks, pad):
    words = ["strategy=frozen", *remarks, "budget.epochs=4"]
    cropped = metrics(trained(shell, *words))
    pad()
    padded = metrics(trained(shell, *words, "outputs=padded", "cache=other"))
    for run in (cropped, padded):
        assert run["cost"]["stages"]["train"]["features"]["modalities"] == ["note", "reply", "path", "tabular"]
    assert cropped["metrics"]["val"]["nll"] == pytest.approx(padded["metrics"]["val"]["nll"], rel=1e-4)
    assert cropped["cost"]["flops"] < padded["cost"]["flops"]


@pytest.mark.parametrize("strategy", ["component", "holistic", "contrastive_then_finetune", "mixup"])
def test_every_kind_of_objective_takes_texts_of_any_width(shell, remarks, strategy):
    told = metrics(trained(shell, *remarks, f"strategy={strategy}"))
    assert told["cost"]["epochs"] == pytest.approx(2, abs=0.1)


def test_it_is_not_for_compiled_runs(shell, remarks):
    code, _, err = shell("train", *remarks, "trainer.group_by_length=true", "trainer.compile=true")
    message = (
        "mmrun: trainer: group_by_length cannot be combined with compile, which needs texts of one width; "
        "drop one of them\n"
    )
    assert (code, err) == (2, message)
