"""With deterministic=true, a run that is killed and resumed ends with the bits of one that was left alone."""

import json
import subprocess
import sys
import time

import pytest

TRANSFORMERS = [
    *("encoder.image=vit_tiny", "encoder.image.pretrained=false", "encoder.image.model=vit_tiny_patch16_224"),
    *("encoder.image.preprocess.size=224", "encoder.audio=logmel_cnn", "encoder.text=transformer"),
]
SMALL = ["encoder.image=lenet", "encoder.audio=logmel_cnn", "encoder.text=gru"]


def command(folder, overrides):
    run = ["modalities=[image,audio,text]", "trainer.save_every=0", "trainer.progress=false", "trainer.batch_size=32"]
    files = [f"outputs={folder}/outputs", f"cache={folder}/cache"]
    return [sys.executable, "-m", "mmrun", "train", *overrides, *run, *files]


def kill_at(step, folder, overrides):
    """Start a run, and kill it once a checkpoint of this step is written."""
    process = subprocess.Popen(command(folder, overrides))
    while process.poll() is None:
        for file in folder.glob("outputs/*/*/checkpoints/train/last/state.json"):
            try:
                state = json.loads(file.read_text())
            except FileNotFoundError:
                continue  # it is being replaced
            if not state["finished"] and state["state"]["step"] >= step:
                process.kill()
        time.sleep(0.005)
    assert process.wait() == -9, "the run ended before it was killed"


def read_weights(folder):
    [file] = folder.glob("outputs/*/*/checkpoints/train/last/model.safetensors")
    return file.read_bytes()


@pytest.mark.parametrize(
    "encoders", [SMALL, pytest.param(TRANSFORMERS, marks=pytest.mark.gpu_alone)], ids=["recurrent", "attention"]
)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, device, encoders):
    precision = "bf16" if device.type == "cuda" else "fp32"
    overrides = [*encoders, "budget.steps=12", f"trainer.precision={precision}", "trainer.deterministic=true"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    subprocess.run(command(tmp_path / "whole", overrides), check=True)
    kill_at(4, tmp_path / "killed", overrides)
    subprocess.run(command(tmp_path / "killed", overrides), check=True)
    assert read_weights(tmp_path / "killed") == read_weights(tmp_path / "whole")
