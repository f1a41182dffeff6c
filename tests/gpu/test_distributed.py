"""One process under torchrun: DDP and FSDP, over NCCL on a GPU."""

import subprocess
import sys

import pytest
from safetensors.torch import load

from tests.gpu.conftest import MODEL, RUN

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-port", "29611", "-m", "mmrun", "train"]


@pytest.mark.parametrize("sharded", ["false", "true"], ids=["ddp", "fsdp"])
def test_one_process_under_torchrun_trains_as_a_plain_run(train, tmp_path, device, sharded):
    choice = "auto" if device.type == "cuda" else "cpu"
    overrides = [f"trainer.device={choice}", "trainer.channels_last=false", "trainer.tf32=false"]
    expected = load(train(*overrides, name="plain").weights)
    files = [f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache"]
    subprocess.run([sys.executable, *TORCHRUN, *MODEL, *RUN, *overrides, f"trainer.fsdp={sharded}", *files], check=True)
    [file] = tmp_path.glob("outputs/*/*/checkpoints/train/last/model.safetensors")
    weights = load(file.read_bytes())
    assert list(weights) == list(expected)
    assert all(weights[name].allclose(expected[name], atol=1e-5) for name in weights)
