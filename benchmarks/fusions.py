"""A sweep over eight fusions of the strategy `component`: its whole time over one pre-training and eight fine-tunings.

    scripts/bench fusions [WORD ...]

The sweep is one command, from its start to its end, with an empty cache. What it is held against is the runs' own
ledgers: seconds of training alone, no evaluation, no start; pre-training counted once, as the others reuse it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FUSIONS = ("concat", "sum", "gated", "attention", "bilinear", "tensor", "late", "moe")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", default=["budget.epochs=20"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        words = ["strategy=component", f"fusion={','.join(FUSIONS)}", *args.words]
        command = [sys.executable, "-m", "mmrun", "train", "-m", *words, f"outputs={scratch}", f"cache={scratch}/cache"]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - began
        runs = [json.loads(file.read_text()) for file in Path(scratch).glob("*/*/metrics.json")]
    assert len(runs) == len(FUSIONS), f"{len(runs)} runs"
    stages = [stage for run in runs for stage in run["cost"]["stages"].values()]
    spent = sum(stage["seconds"] for stage in stages if not stage["reused"])
    apart = sum(stage["seconds"] for stage in stages)
    print(f"{whole:7.1f} s  the sweep, from the command to its end")
    number = len(FUSIONS)
    print(f"{spent:7.1f} s  one pre-training and {number} fine-tunings, training alone: ratio {whole / spent:.2f}")
    print(f"{apart:7.1f} s  {number} of each, training alone: ratio {whole / apart:.2f}")
    print(f"load {os.getloadavg()[0]:.1f}, {' '.join(args.words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
