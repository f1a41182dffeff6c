"""Kill a sweep of 24 runs with SIGKILL at random moments, start it again each time, compare with one never stopped.

    scripts/bench sweep_kill [--kills 5] [--seed 0]

Prints where each kill hit; at the end how often each run began, whether a finished one was ever touched again, and
whether weights (sha256 at the end of every stage), figures and counted costs are those of the sweep that was never
stopped. Each sweep has a cache of its own, so that neither finds what the other has trained.
"""

import argparse
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

WORDS = [
    *("-m", "strategy=scratch,frozen,component", "fusion=concat,sum", "seed=0,1,2,3", "modalities=[image,text]"),
    *("encoder.image=lenet", "budget.epochs=1", "trainer.save_every=0.05", "trainer.progress=false"),
]
RUNS = 24
COUNTED = ("steps", "samples", "epochs", "flops")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whole, killed = Path(scratch, "whole"), Path(scratch, "killed")
        began = time.monotonic()
        sweep(whole, Path(scratch, "whole.log"))
        length = time.monotonic() - began
        print(f"never stopped: {length:.0f} s", flush=True)
        rng = random.Random(args.seed)
        moments = sorted(rng.uniform(0, length) for _ in range(args.kills))
        log, stamps = Path(scratch, "killed.log"), {}
        for number, (since, until) in enumerate(zip([0.0, *moments], moments, strict=False), start=1):
            sweep(killed, log, until - since)
            stamps |= {folder: stamp for folder, stamp in finished(killed).items() if folder not in stamps}
            print(f"{number:3}  killed after {until - since:5.1f} s: {len(stamps):2} runs finished", flush=True)
        sweep(killed, log)
        return judge(whole, killed, stamps, log)


def judge(whole: Path, killed: Path, stamps: dict[str, int], log: Path) -> int:
    """Compare the two sweeps."""
    now = finished(killed)
    touched = [folder for folder, stamp in stamps.items() if now[folder] != stamp]
    begun = Counter(re.findall(r"^(digits-\S+): ", log.read_text(), re.MULTILINE))
    twice = {name: times for name, times in begun.items() if times > 1}
    same = [name for name in now if result(killed / name) == result(whole / name)]
    print(f"{len(now)} runs finished, {len(touched)} of them touched after they were")
    print(f"begun more than once, because a kill hit them half done: {twice or 'none'}")
    print(f"{len(same)} of {RUNS} identical")
    return 0 if len(now) == len(same) == RUNS and not touched else 1


def sweep(outputs: Path, log: Path, kill_after: float | None = None) -> None:
    """Start the sweep; let it end, or kill it after some seconds. What it says is added to the log."""
    command = [sys.executable, "-m", "mmrun", "train", *WORDS, f"outputs={outputs}", f"cache={outputs}.cache"]
    with log.open("a") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        try:
            process.wait(kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()


def finished(outputs: Path) -> dict[str, int]:
    """Give the finished runs, and when each one finished."""
    return {str(file.parent.relative_to(outputs)): file.stat().st_mtime_ns for file in outputs.glob("*/*/metrics.json")}


def result(folder: Path) -> dict[str, Any]:
    """Give what must be identical: every weight, every figure, every cost that is counted and not timed."""
    ends = [(stage / "best" if (stage / "best").exists() else stage / "last") for stage in folder.glob("checkpoints/*")]
    weights = sorted(end / "model.safetensors" for end in ends)
    metrics = json.loads((folder / "metrics.json").read_text())
    return {
        "weights": {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in weights},
        "metrics": metrics["metrics"],
        "per_class": metrics["per_class"],
        "cost": {name: metrics["cost"][name] for name in COUNTED},
    }


if __name__ == "__main__":
    sys.exit(main())
