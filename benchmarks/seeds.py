"""Seeds that train together against one run after another: wall time and CPU time of whole runs, together over apart.

    scripts/bench seeds [--seeds 10] [--epochs 10] [--device cpu|cuda] [--case mlp|digits|avdigits]

mlp: a small multi-layer perceptron for each half of `synthetic`. digits: lenet and logmel_cnn on digits and tones.
avdigits: the same encoders on the data set, where it is. Both sides run in this process, after a run that fills the
caches; a run is opened, trained, evaluated and written. A case whose runs cannot train as one, as those with large
feature maps on a CPU, is left out. On a GPU the exit code is 1 if steps together take more than a fifth of the time of
steps apart.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mmrun import compose
from mmrun.config import RunConfig
from mmrun.errors import MmrunError
from mmrun.results.folder import RunFolder
from mmrun.results.identity import run_folder_path
from mmrun.run import pipeline
from mmrun.run.vectorized import Sibling, run_together
from mmrun.training.callback import NullCallback
from mmrun.training.vectorized.stackable import NotStackableError

MAX_RATIO = 0.2  # of the seconds of training on a GPU, together over apart
SMALL = ["encoder.a.dims=[32,32]", "encoder.b.dims=[32,32]", "fusion.dim=32"]
CASES = {
    "mlp": ["dataset=synthetic", "modalities=[a,b]", *SMALL],
    "digits": ["modalities=[image,audio]", "encoder.image=lenet", "encoder.audio=logmel_cnn"],
    "avdigits": ["experiment=avdigits"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    parser.add_argument("--case", action="append", choices=list(CASES), help="default: all")
    parser.add_argument("--tiny", action="store_true", help="try it with two seeds of few steps")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU: nothing is measured")
        return 0
    seeds, epochs = (2, 0.1) if args.tiny else (args.seeds, args.epochs)
    print(f"{device}: {seeds} seeds, {epochs:g} epochs, {args.threads} thread(s)")
    ratios = []
    for name in args.case or CASES:
        overrides = [*CASES[name], f"budget.epochs={epochs}", f"trainer.device={'cpu' if device == 'cpu' else 'auto'}"]
        try:
            ratios.append(compare(name, overrides, seeds))
        except (MmrunError, NotStackableError) as error:
            print(f"{name}: left out: {error}")
    return 1 if device == "cuda" and max(ratios) > MAX_RATIO else 0


def compare(name: str, overrides: Sequence[str], seeds: int) -> float:
    """Train the runs of a case apart, then together; print the ratios, and return that of the seconds of training."""
    with tempfile.TemporaryDirectory() as scratch:
        load_runs(overrides, Path(scratch) / "warm", 1, train_apart)
        apart = load_runs(overrides, Path(scratch) / "apart", seeds, train_apart)
        together = load_runs(overrides, Path(scratch) / "together", seeds, train_together)
        training = [read_training_seconds(Path(scratch) / side) for side in ("together", "apart")]
    ratios = [of_together / of_apart for of_together, of_apart in zip(together, apart, strict=True)]
    print(
        f"{name:10} apart {apart[0]:6.1f} s  together {together[0]:6.1f} s  ratio {ratios[0]:.2f} "
        f"(CPU time {apart[1]:.1f} s, {together[1]:.1f} s, ratio {ratios[1]:.2f}; "
        f"training {training[1]:.1f} s, {training[0]:.1f} s, ratio {training[0] / training[1]:.2f})",
        flush=True,
    )
    return training[0] / training[1]


def read_training_seconds(outputs: Path) -> float:
    """Return the seconds that runs spent on training steps; those that train together share the time of each step."""
    files = outputs.glob("*/*/metrics.json")
    return sum(stage["seconds"] for file in files for stage in json.loads(file.read_text())["cost"]["stages"].values())


def load_runs(
    overrides: Sequence[str], outputs: Path, seeds: int, train: Callable[[list[RunConfig]], None]
) -> tuple[float, float]:
    """Train a run per seed; return wall time and CPU time in seconds."""
    configs = [compose.load([*overrides, f"seed={seed}", f"outputs={outputs}"]) for seed in range(seeds)]
    began, cpu = time.perf_counter(), time.process_time()
    train(configs)
    return time.perf_counter() - began, time.process_time() - cpu


def train_apart(configs: list[RunConfig]) -> None:
    for config in configs:
        pipeline.run(config, NullCallback())


def train_together(configs: list[RunConfig]) -> None:
    siblings = []
    for config in configs:
        folder = RunFolder(run_folder_path(compose.as_dict(config)))
        siblings.append(Sibling(config, folder, [], NullCallback()))
    run_together(siblings)
    for sibling in siblings:
        if sibling.error is not None:
            raise sibling.error


if __name__ == "__main__":
    sys.exit(main())
