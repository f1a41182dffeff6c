import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks/gpu.py"


def run(*words):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, env=environment)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured():
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no GPU: nothing is measured (--tiny tries the same on a CPU)\n"


def test_a_small_try_on_a_cpu():
    done = run("--tiny", "--steps", "1", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(\w+): ratio \d+\.\d+", done.stdout, re.MULTILINE) == ["vit_bert", "resnet_gru_cnn"]
    assert len(re.findall(r"ms a step", done.stdout)) == 4
    assert len(re.findall(r"data wait \d", done.stdout)) == 2
