"""Texts of many lengths, in batches of like length: a run answers as one that pads them all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from mmrun.head import FUSED
from mmrun.results.folder import RunFolder
from mmrun.run.pipeline import reopen
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.training import engine
from mmrun.training.callback import NullCallback
from tests.end_to_end.conftest import metrics, weights

ROWS = 200


@pytest.fixture
def remarks(shell):
    """Two texts of 1 to 60 words and a cell; some are missing."""
    draw = np.random.default_rng(0)
    lines = ["note,reply,speed,turn"]
    for row in range(ROWS):
        texts = [" ".join(draw.choice(["go", "left", "right", "slow"], draw.integers(1, 61))) for _ in range(2)]
        lines.append(f"{texts[0]},{texts[1] if row % 5 else ''},{row / 7:.2f},{row % 3}")
    Path("remarks.csv").write_text("\n".join(lines) + "\n")
    words = ["dataset=manifest", "dataset.path=remarks.csv", "dataset.target=turn", "trainer.batch_size=16"]
    longest = [f"encoder.{name}.preprocess.max_tokens=64" for name in ("note", "reply")]
    return [
        *words,
        *longest,
        "encoder.note=transformer",
        "fusion=attention",
        "trainer.group_by_length=true",
        "budget.epochs=2",
    ]


def trained(shell, *words):
    code, out, err = shell("train", *words)
    assert code == 0, err
    return Path(out.split()[-1])


def test_evaluation_gives_what_padded_texts_give(shell, remarks):
    folder = trained(shell, *remarks, "trainer.eval_batch_size=3")
    session = reopen(RunFolder(folder), NullCallback())
    padded = replace(
        session, config=replace(session.config, trainer=replace(session.config.trainer, group_by_length=False))
    )
    widths, answers = [], []
    for one in (session, padded):
        widths.append({batch.inputs["note"]["ids"].shape[1] for batch in one.ordered("test", one.columns)})
        answers.append(engine.predict(one.model, [FUSED], one.ordered("test", one.columns), Accelerator(cpu=True)))
    assert widths[1] == {64}
    assert len(widths[0]) > 1
    torch.testing.assert_close(answers[0], answers[1], atol=1e-5, rtol=1e-5)


def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(shell, remarks, monkeypatch):
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


def test_what_is_tried_on_the_first_batch_holds_for_all(shell, remarks):
    """Features of all tokens are kept, and as many operations counted as without."""
    words = ["strategy=frozen", *remarks, "budget.epochs=4"]
    cropped, padded = (trained(shell, *words, f"trainer.group_by_length={on}") for on in ("true", "false"))
    costs = [metrics(folder)["cost"]["stages"]["train"] for folder in (cropped, padded)]
    assert [cost["features"]["modalities"] for cost in costs] == [["note", "reply", "tabular"]] * 2
    assert costs[0]["flops"] == costs[1]["flops"]


@pytest.mark.parametrize("strategy", ["component", "holistic", "contrastive_then_finetune", "mixup"])
def test_every_kind_of_objective_takes_texts_of_any_width(shell, remarks, strategy):
    told = metrics(trained(shell, *remarks, f"strategy={strategy}"))
    assert told["cost"]["epochs"] == pytest.approx(2, abs=0.1)


def test_it_is_not_for_compiled_runs(shell, remarks):
    code, _, err = shell("train", *remarks, "trainer.compile=true")
    message = (
        "mmrun: trainer: group_by_length cannot be combined with compile, which needs texts of one width; "
        "drop one of them\n"
    )
    assert (code, err) == (2, message)
