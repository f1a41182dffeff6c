"""One process: DDP under torchrun and FSDP, over NCCL on a GPU."""

import subprocess
import sys

import pytest
from safetensors.torch import load
from torch import distributed

from mmrun.run import opening
from tests.gpu.conftest import MODEL, RUN

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-port", "29611", "-m", "mmrun", "train"]


@pytest.fixture
def overrides(device):
    choice = "auto" if device.type == "cuda" else "cpu"
    return [f"trainer.device={choice}", "trainer.channels_last=false", "trainer.tf32=false"]


@pytest.fixture
def sharded(monkeypatch):
    """Shard models, though there is nothing to share with."""
    monkeypatch.setattr(opening, "has_shards", lambda config, accelerator: config.trainer.fsdp)
    yield
    distributed.destroy_process_group()


def assert_close(weights, expected):
    assert weights.keys() == expected.keys()
    assert all(weights[name].allclose(expected[name], atol=1e-5) for name in weights)


def test_one_process_under_torchrun_trains_as_a_plain_run(train, tmp_path, overrides):
    files = [f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache"]
    subprocess.run([sys.executable, *TORCHRUN, *MODEL, *RUN, *overrides, *files], check=True)
    [file] = tmp_path.glob("outputs/*/*/checkpoints/train/last/model.safetensors")
    assert_close(load(file.read_bytes()), load(train(*overrides).weights))


def test_a_sharded_model_trains_as_a_plain_run(train, overrides, sharded):
    expected = load(train(*overrides, name="plain").weights)
    assert_close(load(train(*overrides, "trainer.fsdp=true", name="sharded").weights), expected)
