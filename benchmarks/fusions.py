"""A sweep over eight fusions of the strategy `component`: its whole time over one pre-training and eight fine-tunings.

    scripts/bench fusions [WORD ...]

The sweep is one command, from its start to its end, with an empty cache. It is held against stages timed one by one in
a process that is open already: pre-training once, then each fine-tuning from its first step to its last evaluation.
Both go on at the same time, a thread each, so that what else the machine does meets both.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from mmrun import compose
from mmrun.run import pipeline
from mmrun.training.callback import NullCallback

FUSIONS = ("concat", "sum", "gated", "attention", "bilinear", "tensor", "late", "moe")


class Clock(NullCallback):
    """Notes when stages begin."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}

    def on_stage_start(self, stage, state):
        self.began[stage.name] = time.perf_counter()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", default=["budget.epochs=10"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of the sweep
    with tempfile.TemporaryDirectory() as scratch:
        words = ["strategy=component", *args.words]
        with ThreadPoolExecutor(1) as pool:
            sweep = pool.submit(swept, [*words, f"outputs={scratch}/sweep", f"cache={scratch}/other"])
            apart = sum(timed([*words, f"fusion={fusion}", f"cache={scratch}/one"], scratch) for fusion in FUSIONS)
            whole = sweep.result()
        runs = [json.loads(file.read_text()) for file in Path(scratch, "sweep").glob("*/*/metrics.json")]
    reused = sum(stage["reused"] for run in runs for stage in run["cost"]["stages"].values())
    print(f"{whole:7.1f} s  the sweep, from the command to its end: {len(runs)} runs, {reused} stages reused")
    print(f"{apart:7.1f} s  one pre-training and {len(FUSIONS)} fine-tunings, one by one")
    print(f"ratio {whole / apart:.3f} ({' '.join(args.words)}; load {os.getloadavg()[0]:.1f})")
    return 0


def swept(words: list[str]) -> float:
    """Give the seconds of the whole command."""
    command = [sys.executable, "-m", "mmrun", "train", "-m", *words, f"fusion={','.join(FUSIONS)}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def timed(words: list[str], scratch: str) -> float:
    """Give the seconds of what a run trains: pre-training where it is the first, and fine-tuning."""
    clock = Clock()
    pipeline.run(compose.load([*words, f"outputs={scratch}/alone"]), clock)
    ended = time.perf_counter()
    first = min(clock.began.values())
    return ended - first


if __name__ == "__main__":
    sys.exit(main())
