"""How long one waits: `mmrun --help`, `mmrun train --cfg job`, and from the command to the first training step.

    scripts/bench startup [--rounds 5] [WORD ...]

The first step is taken when the stage's first checkpoint stands. Medians of some rounds, after one that warms the disk.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    for name, wait in (
        ("mmrun --help", lambda: whole("--help")),
        ("mmrun train --cfg job", lambda: whole("train", "--cfg", "job", *args.words)),
        (" ".join(["mmrun train", *args.words, "-> first step"]), lambda: first_step(args.words)),
    ):
        wait()
        print(f"{np.median([wait() for _ in range(args.rounds)]):6.2f} s  {name}", flush=True)
    return 0


def whole(*words: str) -> float:  # seconds
    """Time a command from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mmrun", *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_step(words: list[str]) -> float:  # seconds
    """Time a training from the command to its first step, and end it there."""
    with tempfile.TemporaryDirectory() as outputs:
        command = [sys.executable, "-m", "mmrun", "train", *words, f"outputs={outputs}", f"cache={outputs}/cache"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(Path(outputs).glob("*/*/checkpoints/*/last")):
            time.sleep(0.005)
        waited = time.perf_counter() - began
        process.kill()
        process.wait()
        return waited


if __name__ == "__main__":
    sys.exit(main())
