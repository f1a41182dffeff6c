"""What a run does when memory runs out."""

import json

import torch

from mmrun.models.encoders.image import Cnn
from tests.end_to_end.conftest import metrics


def test_a_run_out_of_memory_goes_on_in_micro_batches_and_says_so(shell, monkeypatch):
    whole = Cnn.forward

    def short(self, x):
        if self.training and len(x) > 20:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return whole(self, x)

    monkeypatch.setattr(Cnn, "forward", short)
    words = ["modalities=[image]", "encoder.image=cnn", "trainer.batch_size=40", "budget.steps=3"]
    code, out, err = shell("train", *words)
    assert code == 0, err
    assert err.count("train: out of memory; each batch is split into 2 micro-batches of 20 rows\n") == 1
    folder = out.split()[-1]
    (run,) = shell.folder.glob("outputs/*/*")
    assert folder.endswith(run.name)
    assert metrics(run)["cost"]["stages"]["train"]["grad_accum_steps"] == 2
    first, *_ = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert first == {"event": "out_of_memory", "stage": "train", "step": 0, "grad_accum_steps": 2}
