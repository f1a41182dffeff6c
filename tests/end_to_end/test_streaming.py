"""Columns beyond cache_limit: rows are decoded anew for every batch, and the result is that of stored columns."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrun.run.stage_checkpoints import StageCheckpoints
from tests.end_to_end.conftest import metrics, weights

ROWS = 60
STREAMED = ("cache_limit=1e-6", "cache=empty")


@pytest.fixture
def overrides():
    """Arguments of a run on pictures and numbers, one of each missing."""
    draw = np.random.default_rng(0)
    lines = ["photo,size,label"]
    for row in range(ROWS):
        label = row % 2
        pixels = draw.integers(0, 128, (8, 8, 3), dtype=np.uint8) + np.uint8(100 * label)
        Image.fromarray(pixels).save(f"{row}.png")
        lines.append(f"{'' if row == 4 else f'{row}.png'},{'' if row == 9 else draw.random()},{'ab'[label]}")
    Path("my.csv").write_text("\n".join(lines) + "\n")
    return [
        *("dataset=manifest", "dataset.path=my.csv", "encoder.photo=lenet", "encoder.photo.preprocess.size=16"),
        *("trainer.batch_size=8", "budget.epochs=3"),
    ]


def train(shell, *words):
    code, out, err = shell("train", *words)
    assert code == 0, err
    return Path(out.split()[-1]), " ".join(err.split())


def test_a_streamed_run_that_was_interrupted_ends_with_the_bits_of_a_stored_one(shell, overrides, monkeypatch):
    stored, _ = train(shell, *overrides, "outputs=stored")
    streamed, messages = train(shell, *overrides, "outputs=streamed", *STREAMED)
    assert "image: 46,080 bytes decoded, beyond cache_limit, 1,000: decoded anew for every batch" in messages
    assert weights(streamed) == weights(stored)
    assert metrics(streamed)["metrics"] == metrics(stored)["metrics"]

    on_checkpoint = StageCheckpoints.on_checkpoint

    def interrupt(self, state):
        on_checkpoint(self, state)
        if state.step == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StageCheckpoints, "on_checkpoint", interrupt)
        assert shell("train", *overrides, "trainer.save_every=0", *STREAMED)[0] == 130
    [folder] = Path("outputs").glob("*/*")
    assert shell("resume", folder)[0] == 0
    assert weights(folder) == weights(stored)
    assert metrics(folder)["metrics"] == metrics(stored)["metrics"]
