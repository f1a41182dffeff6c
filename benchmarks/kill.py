"""Kill one component run with SIGKILL at random moments, resume each, and compare with the run that was never stopped.

    scripts/bench kill [--moments 20] [--seed 0]

Prints, per moment, where it hit and whether weights (sha256 of every checkpoint) and metrics are identical.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = ["strategy=component", "budget.epochs=3", "trainer.save_every=0.1", "trainer.progress=false"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        began = time.monotonic()
        process = start(root / "whole")
        folder = wait_for_folder(root / "whole", process)
        opened = time.monotonic()
        process.wait()
        length = time.monotonic() - opened
        print(f"never stopped: {opened - began:.1f} s to open, {length:.1f} s to train", flush=True)
        expected = result(folder)
        same = 0
        for number in range(args.moments):
            outputs = root / str(number)
            while (where := kill_once(outputs, rng.uniform(0, length))) is None:
                shutil.rmtree(outputs)  # it had finished: no kill
            finish(outputs)
            identical = result(next(outputs.glob("*/*"))) == expected
            same += identical
            print(f"{number + 1:3}  killed {where:40} {'identical' if identical else 'DIFFERENT'}", flush=True)
    print(f"{same} of {args.moments} identical")
    return 0 if same == args.moments else 1


def start(outputs: Path) -> subprocess.Popen[bytes]:
    """Start the run."""
    command = [sys.executable, "-m", "mmrun", "train", *WORDS, f"outputs={outputs}", f"cache={outputs}-cache"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_folder(outputs: Path, process: subprocess.Popen[bytes]) -> Path:
    """Wait until the run has its folder, and give it."""
    while process.poll() is None:
        found = list(outputs.glob("*/*/config.yaml"))
        if found:
            return found[0].parent
        time.sleep(0.01)
    raise SystemExit("the run ended before it began; try it by hand: mmrun train " + " ".join(WORDS))


def kill_once(outputs: Path, after: float) -> str | None:
    """Kill a run some seconds after it opened its folder, and tell where it was; None where it was over."""
    process = start(outputs)
    folder = wait_for_folder(outputs, process)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (folder / "metrics.json").exists():
        return None
    lasts = sorted(folder.glob("checkpoints/*/last/state.json"), key=lambda file: file.stat().st_mtime)
    if not lasts:
        return f"after {after:.1f} s (nothing saved)"
    state = json.loads(lasts[-1].read_text())
    step = "end" if state["finished"] else f"step {state['state']['step']}"
    return f"after {after:.1f} s ({lasts[-1].parent.parent.name}, {step})"


def finish(outputs: Path) -> None:
    """Resume the run by name, as a user would."""
    folder = next(outputs.glob("*/*"))
    subprocess.run([sys.executable, "-m", "mmrun", "resume", str(folder)], check=True, capture_output=True)


def result(folder: Path) -> dict[str, Any]:
    """Give what must be identical: every weight, every figure, every cost that is counted and not timed."""
    weights = sorted(folder.glob("checkpoints/*/*/model.safetensors"))
    metrics = json.loads((folder / "metrics.json").read_text())
    return {
        "weights": {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in weights},
        "metrics": metrics["metrics"],
        "per_class": metrics["per_class"],
        "cost": {name: metrics["cost"][name] for name in ("steps", "samples", "epochs", "flops")},
    }


if __name__ == "__main__":
    sys.exit(main())
