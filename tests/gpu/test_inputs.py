"""Inputs on the device: copied while it computes, transformed and augmented there, or read as features."""

import numpy as np
import pytest
import torch

from mmrun import compose
from mmrun.data.prefetch import Prefetcher, iterate_tensors
from mmrun.models.encoders.logmel import LogMel
from mmrun.results.folder import RunFolder
from mmrun.run.accelerator import build_accelerator
from mmrun.run.opening import open_session
from mmrun.training.callback import NullCallback
from mmrun.types import Batch
from tests.gpu.conftest import MODEL


@pytest.mark.gpu_alone
def test_the_computing_stream_waits_for_copies_on_another_stream():
    device = torch.device("cuda")

    def build_batch(rows):
        index = torch.from_numpy(rows).pin_memory().to(device, non_blocking=True)
        return Batch({}, {}, {}, index)

    prefetcher = Prefetcher(build_batch, device)
    pending = [prefetcher.submit(np.full(1_000_000, number)) for number in range(8)]
    assert [int(prefetcher.result(item).index.sum()) for item in pending] == [number * 1_000_000 for number in range(8)]


def test_batches_on_the_device_are_those_of_a_cpu(tmp_path):
    batches = []
    for choice in ("cpu", "auto"):
        config = compose.load([*MODEL, f"trainer.device={choice}", f"cache={tmp_path}/cache"])
        session = open_session(config, RunFolder(tmp_path / choice), NullCallback(), build_accelerator(config))
        loader = session.loader(session.data.rows["all"], 64, session.columns)
        batches.append([loader.batch(step) for step in (0, 1, 2, 7)])
    on_cpu, on_device = (list(iterate_tensors(batch)) for batch in batches)
    assert all(ours.cpu().equal(theirs) for ours, theirs in zip(on_device, on_cpu, strict=True))


def test_spectrograms_on_the_device_are_those_of_a_cpu(device):
    waveform = torch.randn(4, 8000, generator=torch.Generator().manual_seed(0))
    logmel = LogMel(8000)
    torch.testing.assert_close(
        logmel.to(device)(waveform.to(device)).cpu(), LogMel(8000)(waveform), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("augment", ["light", "trivial", "strong"])
def test_augmented_training_repeats_its_bits(train, augment):
    overrides = [f"augment={augment}", "budget.steps=5"]
    assert train(*overrides, name="first").weights == train(*overrides, name="second").weights


def test_features_of_frozen_encoders_give_the_metrics_of_inputs(train):
    overrides = ["strategy=frozen", "budget.epochs=3", "budget.steps=null", "trainer.tf32=false"]
    read = train(*overrides)
    assert any("features of" in message and "computed once" in message for message in read.messages)
    expected = train(*overrides, "trainer.cache_features=false", name="inputs").losses
    assert read.losses == pytest.approx(expected, rel=1e-3)
