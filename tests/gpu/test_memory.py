"""Memory that really runs out, and outputs that do not stay on the device."""

import gc

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmrun.head import FUSED
from mmrun.training import engine
from mmrun.types import Batch
from tests.gpu.conftest import RESNET

LARGE = ["encoder.image.preprocess.size=112", "budget.steps=2", "trainer.eval_batch_size=64", "trainer.tf32=false"]


@pytest.fixture
def limit_memory():
    """Return a function after which this process has so many bytes of the GPU, until the test ends."""

    def limit(size):
        gc.collect()  # of an earlier run: its objects refer to each other
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(0).total_memory)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu_alone
def test_a_batch_that_memory_does_not_hold_is_split_and_trains_as_one_split_from_the_start(train, limit_memory):
    whole = ["trainer.batch_size=512", "trainer.save_every=1e9"]
    enough = train(*LARGE, *whole, name="enough", model=RESNET).stage["peak_memory"]
    limit_memory(0.6 * enough)
    short = train(*LARGE, *whole, name="short", model=RESNET)
    *_, message = (message for message in short.messages if "out of memory" in message)
    number = short.stage["grad_accum_steps"]
    assert message == (f"train: out of memory; each batch is split into {number} micro-batches of {512 // number} rows")
    limit_memory(torch.cuda.get_device_properties(0).total_memory)
    split = train(*LARGE, *whole, f"strategy.stages.train.grad_accum_steps={number}", name="split", model=RESNET)
    assert short.losses == pytest.approx(split.losses, rel=1e-3)  # less memory may mean other convolutions


@pytest.mark.gpu_alone
def test_the_largest_batch_that_fits_is_found(train, limit_memory):
    enough = train(*LARGE, "trainer.batch_size=256", name="256", model=RESNET).stage["peak_memory"]
    limit_memory(0.7 * enough)
    found = train(*LARGE, "trainer.batch_size=auto", name="auto", model=RESNET)
    assert {"trainer.batch_size=auto: 64 rows a step", "trainer.batch_size=auto: 128 rows a step"} & {*found.messages}
    assert found.stage["grad_accum_steps"] == 1


class Numbers(nn.Module):
    """Returns the number of each row in every one of many classes."""

    def forward(self, batch):
        return {"label": batch.index.float().unsqueeze(1).expand(-1, 4096).clone()}


def test_outputs_leave_the_device_as_they_come(device):
    accelerator = Accelerator(cpu=device.type == "cpu")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rows = torch.arange(64 * 256, device=accelerator.device).split(256)
    batches = (Batch({}, {}, {"label": index}, index) for index in rows)
    outputs, targets, index = engine.predict(Numbers(), [FUSED], batches, accelerator)
    assert outputs[FUSED]["label"].device.type == targets["label"].device.type == index.device.type == "cpu"
    assert outputs[FUSED]["label"].sum(1).equal(4096.0 * torch.arange(64 * 256))
    if device.type == "cuda":
        assert torch.cuda.max_memory_allocated() < 64 * 2**20  # all outputs take 256 MiB
