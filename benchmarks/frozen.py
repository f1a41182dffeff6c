"""A stage with frozen encoders, its features computed once, against the same stage that encodes in every epoch.

    scripts/bench frozen [--encoder resnet18] [--size 224] [--rows 256] [--epochs 3] [--rounds 2] [--threads 1]

Both are runs of the strategy `frozen` on photographs of noise; the seconds of an epoch, its validation included, are
those between two evaluations in log.jsonl, the first epoch left out. The two sides take turns.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.run import pipeline
from mmrun.training.callback import NullCallback


class Clock(NullCallback):
    """Notes when evaluations are made, and what is said."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_evaluate_end(self, state, metrics):
        self.times.append(time.perf_counter())

    def on_message(self, text):
        print(f"  {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rows", type=int, default=256, help="of training; a quarter as many for validation")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        table = photographs(Path(scratch), args.rows, args.size)
        for number in range(args.rounds):
            seconds = {features: epoch(args, table, Path(scratch), features, number) for features in (True, False)}
            ratios.append(seconds[False] / seconds[True])
            print(f"epoch {seconds[False]:8.3f} s encoded, {seconds[True]:8.4f} s from features, x {ratios[-1]:.0f}")
    load = os.getloadavg()[0]
    print(f"median x {np.median(ratios):.0f} ({args.encoder} at {args.size} px, {args.rows} rows; load {load:.1f})")
    return 0


def photographs(folder: Path, rows: int, size: int) -> Path:
    """Write JPEGs of coloured noise and the table that names them."""
    draw = np.random.default_rng(0)
    lines = ["id,photo,split,label"]
    for row in range(rows + rows // 2):
        coarse = draw.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size)).save(folder / f"{row}.jpg")
        split = "train" if row < rows else "val" if row < rows + rows // 4 else "test"
        lines.append(f"{row},{row}.jpg,{split},{'ab'[row % 2]}")
    table = folder / "table.csv"
    table.write_text("\n".join(lines))
    return table


def epoch(args, table: Path, scratch: Path, features: bool, number: int) -> float:
    """Give the seconds of an epoch: the median of all but the first."""
    words = [
        *("strategy=frozen", "dataset=manifest", f"dataset.path={table}", f"encoder.photo={args.encoder}"),
        *(f"encoder.photo.preprocess.size={args.size}", f"budget.epochs={args.epochs}", "trainer.batch_size=32"),
        *("encoder.photo.pretrained=false", "trainer.device=cpu", f"trainer.cache_features={str(features).lower()}"),
        *(f"cache={scratch}/cache-{number}", f"outputs={scratch}/{number}"),
    ]
    config, clock = compose.load(words), Clock()
    pipeline.run(config, clock, words, folder=RunFolder(scratch / f"run-{number}-{features}"))
    return float(np.median(np.diff(clock.times)))


if __name__ == "__main__":
    sys.exit(main())
