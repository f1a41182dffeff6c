"""Texts of many lengths: steps/s with trainer.group_by_length=true over those without, for a transformer.

    scripts/bench buckets [--rows 1920] [--batch-size 32] [--encoder transformer] [--rounds 7] [--threads 1]

Words, log-normal in number: 5 to 128 tokens, padded to 128. The two sides take turns within one process, an epoch each,
so that every length counts as often on both.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _training import open_stage, train_steps

from mmrun import compose
from mmrun.run.session import Session
from mmrun.run.stage import build_stage
from mmrun.training.built_stage import BuiltStage
from mmrun.training.state import TrainState

LONGEST = 128  # tokens, the marks at both ends included
MEDIAN, SPREAD = 32, 0.7  # tokens, and the deviation of their logarithm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1920)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--encoder", default="transformer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "table.csv", args.rows)
        words = [
            *("dataset=manifest", f"dataset.path={folder}/table.csv", f"cache={folder}/cache", "trainer.device=cpu"),
            *(f"encoder.text={args.encoder}", f"encoder.text.preprocess.max_tokens={LONGEST}", "fusion=concat"),
            *(f"trainer.batch_size={args.batch_size}", "trainer.save_every=1e9", "trainer.group_by_length=true"),
        ]
        config = compose.load(words)
        session, grouped = open_stage(config, folder / "run")
        trainer = replace(session.config.trainer, group_by_length=False)
        padded = build_stage(replace(session, config=replace(session.config, trainer=trainer)), grouped.stage)
        states = {id(grouped): TrainState(), id(padded): TrainState()}
        steps = args.rows // args.batch_size
        tokens = session.columns["text"].parts["mask"].numpy().sum(1)
        learned = tokens[session.data.rows["all"]]
        print(f"{len(learned)} texts of {learned.min()} to {learned.max()} tokens, {learned.mean():.0f} on average")
        shuffled = padded.batches.sampler.stream.take(np.arange(steps * args.batch_size))
        by_chance = tokens[shuffled].reshape(steps, -1).max(1)
        widths = [grouped.batches.batch(step).inputs["text"]["ids"].shape[1] for step in range(1, steps)]
        print(f"batches of {np.mean(widths):.0f} tokens on average, {min(widths)} to {max(widths)}; ", end="")
        print(f"cropped alone, in the order of chance, they would have {np.mean(by_chance):.0f}")
        ratios = []
        for number in range(args.rounds + 1):  # the first warms up
            ours, theirs = (steps / timed(session, side, states[id(side)], steps) for side in (grouped, padded))
            if number:
                ratios.append(ours / theirs)
                print(f"grouped {ours:6.1f}  padded {theirs:6.1f} steps/s  x {ratios[-1]:.2f}", flush=True)
        print(f"{args.encoder}: median x {np.median(ratios):.2f} (load {os.getloadavg()[0]:.1f})")
    return 0


def write(file: Path, rows: int) -> None:
    """Write the texts; each word is one token when the vocabulary is learned."""
    draw = np.random.default_rng(0)
    vocabulary = np.array([f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"])
    lines = ["text,split,label"]
    for row in range(rows + 128):
        tokens = int(draw.lognormal(np.log(MEDIAN), SPREAD))
        text = " ".join(draw.choice(vocabulary, np.clip(tokens, 5, LONGEST) - 2))
        lines.append(f"{text},{'train' if row < rows else 'val' if row % 2 else 'test'},{'ab'[row // 2 % 2]}")
    file.write_text("\n".join(lines) + "\n")


def timed(session: Session, built: BuiltStage, state: TrainState, steps: int) -> float:  # seconds
    """Train an epoch; nothing is evaluated or saved."""
    began = time.perf_counter()
    train_steps(session, built, state, steps)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
