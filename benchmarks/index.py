"""How long `mmrun ls`, `compare` and `report` take over many runs: seconds of the whole command, and a run's share.

python benchmarks/index.py [RUNS]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mmrun.results.folder import RunFolder
from mmrun.results.predictions import write_predictions

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
STRATEGIES = ("scratch", "holistic", "component", "frozen", "unimodal")
ROWS, CLASSES = 360, 10  # of the test split


def main() -> None:
    num_runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_runs):
            write(Path(folder) / "outputs" / "default", STRATEGIES[number % 5], number // 5)
        for words in (["--version"], ["ls"], ["compare", "--against", "scratch", "--paired", "seed"], ["report"]):
            seconds = min(measure(words, folder) for _ in range(3))
            print(f"mmrun {words[0]:10} {seconds:.2f} s over {num_runs} runs, {seconds / num_runs * 1e3:.2f} ms a run")


def measure(words: list[str], folder: str) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mmrun", *words], cwd=folder, check=True, capture_output=True, env=ENVIRONMENT
    )
    return time.perf_counter() - started


def write(outputs: Path, strategy: str, seed: int) -> None:
    """Write as much of a run as the commands read, in its usual size."""
    name = f"digits-{strategy}-s{seed}-{seed:08x}"
    run = RunFolder(outputs / name)
    run.path.mkdir(parents=True)
    metrics = figures(name, strategy, seed)
    (run.path / "metrics.json").write_text(json.dumps(metrics, indent=1))
    (run.path / "status.json").write_text(json.dumps({"status": "finished"}))
    (run.path / "config.yaml").touch()
    said = {"python": "3.11", "device": "cpu", "versions": dict.fromkeys(map(str, range(16)), "1.0"), "git": None}
    run.environment_file.write_text(json.dumps(said))
    log(run, metrics["metrics"]["val"])
    rng = np.random.default_rng(seed)
    target, scores = rng.integers(0, CLASSES, ROWS), rng.dirichlet(np.ones(CLASSES), ROWS)
    run.predictions.mkdir()
    write_predictions(run, "test", [f"row{row}" for row in range(ROWS)], {"label": target}, {"label": scores})


def figures(name: str, strategy: str, seed: int) -> dict:
    """Give what metrics.json holds."""
    cost = dict.fromkeys(("epochs", "steps", "samples", "seconds", "flops", "peak_memory"), 1.0)
    cost |= {"trainable_parameters": 25_300, "total_parameters": 25_300}
    stages = {f"stage{number}": {"objective": "Task", **cost, "reused": False} for number in range(4)}
    figures = {f"figure{number}/{head}": 0.5 for number in range(12) for head in ("image", "audio", "text")}
    classes = {
        f"class{number}": dict.fromkeys(("precision", "recall", "f1", "count"), 0.5) for number in range(CLASSES)
    }
    return {
        "metric_version": 1,
        "run": name,
        "seed": seed,
        "choices": {"dataset": "digits", "strategy": strategy},
        "config": {
            "seed": seed,
            "trainer": {"precision": "fp32"},
            "strategy": {"stages": {name: {"train": ["encoder", "fusion"]} for name in stages}},
            "encoder": {f"modality{number}": dict.fromkeys(map(str, range(20)), 1.0) for number in range(3)},
        },
        "budget": {"epochs": 10.0},
        "dataset": {"fingerprint": "f", "split": "s", "labelled": 1.0},
        "headline": "fused",
        "metrics": {
            "val": {"accuracy": 0.5, **figures},
            "test": {"accuracy": 0.5 + ((seed + len(strategy)) * 7919 % 101) / 1000, **figures},
        },
        "per_class": {split: {"label": classes} for split in ("val", "test")},
        "cost": {**cost, "stages": stages},
    }


def log(run: RunFolder, validated: dict[str, float]) -> None:
    """Write ten evaluations of each stage."""
    lines = [
        {
            "event": "evaluated",
            "stage": f"stage{stage}",
            "step": step,
            **dict.fromkeys(("epochs", "samples", "seconds", "flops"), step / 10),
            **{f"val/{name}": value for name, value in validated.items()},
        }
        for stage in range(4)
        for step in range(1, 11)
    ]
    run.log_file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


if __name__ == "__main__":
    main()
