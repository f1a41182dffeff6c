"""How long one waits: `mmrun --help`, `mmrun train --cfg job`, and from the command to the first training step.

    scripts/bench startup [--rounds 5] [WORD ...]

The first step is taken when the stage's first checkpoint stands: of a run on data never seen, and of a second run on
the same data. Last, what Python takes to start and to import all that a run imports. Medians of some rounds, after one
that warms the disk; beside them the seconds of processor time, which other work on the machine hardly changes.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

IMPORTS = "import mmrun.cli.train, mmrun.run.pipeline, mmrun.cli.terminal"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    train = " ".join(["mmrun train", *args.words])
    with tempfile.TemporaryDirectory() as kept:
        for name, wait in (
            ("mmrun --help", lambda: whole("-m", "mmrun", "--help")),
            ("mmrun train --cfg job", lambda: whole("-m", "mmrun", "train", "--cfg", "job", *args.words)),
            (f"{train} -> first step", lambda: first_step(args.words, None)),
            (f"{train} -> first step, a second run on the same data", lambda: first_step(args.words, kept)),
            ("of which Python's start and imports", lambda: whole("-c", IMPORTS)),
        ):
            wait()
            waited, computed = np.median([timed(wait) for _ in range(args.rounds)], axis=0)
            print(f"{waited:6.2f} s  {computed:6.2f} s CPU  {name}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def timed(wait: Callable[[], float]) -> tuple[float, float]:
    """Give the seconds that something takes, and those of its processes' processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited = wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return waited, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def whole(*words: str) -> float:  # seconds
    """Time a command from start to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_step(words: list[str], cache: str | None) -> float:  # seconds
    """Time a training from the command to its first step, and end it there."""
    with tempfile.TemporaryDirectory() as outputs:
        folders = [f"outputs={outputs}", f"cache={cache or outputs + '/cache'}"]
        command = [sys.executable, "-m", "mmrun", "train", *words, *folders]
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
