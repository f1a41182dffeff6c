"""trainer.batch_size=auto."""

import pytest
import torch

from mmrun.models.encoders.image import Cnn
from mmrun.results.folder import RunFolder
from mmrun.run.opening import reopen
from mmrun.training.callback import NullCallback
from tests.end_to_end.conftest import metrics

WORDS = ["modalities=[image]", "encoder.image=cnn", "budget.steps=3", "budget.epochs=null", "trainer.batch_size=auto"]


@pytest.fixture
def room_for_20(monkeypatch):
    whole = Cnn.forward

    def short(self, x):
        if self.training and len(x) > 20:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return whole(self, x)

    monkeypatch.setattr(Cnn, "forward", short)


def test_the_largest_batch_that_fits_is_found_and_gone_on_with(shell, room_for_20):
    code, _, err = shell("train", *WORDS)
    assert code == 0, err
    assert "trainer.batch_size=auto: 16 rows a step\n" in err
    (run,) = shell.folder.glob("outputs/*/*")
    folder = RunFolder(run)
    assert folder.read_config()["trainer"]["batch_size"] == "auto"  # what was asked for, and makes the run's identity
    assert folder.read_environment()["batch_size"] == 16
    told = metrics(run)
    assert told["config"]["trainer"]["batch_size"] == 16
    assert (told["cost"]["samples"], told["cost"]["stages"]["train"]["grad_accum_steps"]) == (48, 1)
    assert "is finished" in shell("train", *WORDS)[2]
    folder.update_environment(batch_size=8)  # what the first start found, a resumed run keeps
    (run / "metrics.json").unlink()
    for file in run.glob("checkpoints/*/*/*"):
        file.unlink()
    for part in [*run.glob("checkpoints/*/*")]:
        part.rmdir()
    assert shell("resume", run)[0] == 0
    assert metrics(run)["cost"]["samples"] == 24
    assert reopen(folder, NullCallback()).config.trainer.batch_size == 8


def test_trying_leaves_no_trace(shell):
    found = shell.train(*WORDS, "outputs=a")
    assert metrics(found)["config"]["trainer"]["batch_size"] == 256  # the most on a CPU
    asked = shell.train(*WORDS, "trainer.batch_size=256", "outputs=b")
    assert metrics(found)["metrics"] == metrics(asked)["metrics"]


def test_what_is_no_size_is_refused(shell):
    code, _, err = shell("train", "trainer.batch_size=all")
    assert code == 2
    assert err == "mmrun: trainer.batch_size: 'all' is not a whole number above 0 or auto\n"
