"""Engine against a bare hand-written PyTorch loop: same model, data, batch size, optimiser; CPU time, bare over ours.

    scripts/bench overhead [--dataset digits] [--modalities image,audio] [--batch-size 40] [--steps 20] [--rounds 15]

The two sides alternate in blocks of steps within one process. The bare side indexes float tensors in memory. Processor
time is measured, which other processes change less than wall time.
"""

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _training import open_stage, train_steps

from mmrun import compose
from mmrun.run.build import build_optimizer
from mmrun.run.callbacks import Heartbeat
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.training.built_stage import BuiltStage
from mmrun.training.callback import Callback, CallbackList
from mmrun.training.state import TrainState
from mmrun.types import Batch


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--modalities", default="image,audio")
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="of a block")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    words = [f"dataset={args.dataset}", f"modalities=[{args.modalities}]", "encoder.image=lenet"]
    words += [f"trainer.batch_size={args.batch_size}", "trainer.device=cpu", "trainer.save_every=1e9"]
    config = compose.load(words)
    with tempfile.TemporaryDirectory() as scratch:
        session, built = open_stage(config, Path(scratch))
        state = TrainState()
        callback = CallbackList([StageCheckpoints(session, built), Heartbeat(session.folder, built)])
        bare = Bare(copy.deepcopy(session.model), session, built, args.batch_size)
        ratios, rates = [], []
        for _ in range(args.rounds + 1):  # the first warms up
            engine_rate = timed(lambda: train_steps(session, built, state, args.steps, callback=callback), args)
            bare_rate = timed(lambda: bare.block(args.steps), args)
            ratios.append(engine_rate / bare_rate)
            rates.append((engine_rate, bare_rate))
        ratios, rates = ratios[1:], rates[1:]
        for ratio, (ours, theirs) in zip(ratios, rates, strict=True):
            print(f"engine {ours:8.0f}  bare {theirs:8.0f} samples/s  ratio {ratio:.3f}")
        print(f"median ratio {float(np.median(ratios)):.3f} ({args.modalities}, batch {args.batch_size})")
        print_parts(session, built, callback)
    return 0


def timed(block, args) -> float:  # samples per second of processor time
    began = time.process_time()
    block()
    return args.steps * args.batch_size / (time.process_time() - began)


class Bare:
    """What one writes by hand."""

    def __init__(self, model, session: Session, built: BuiltStage, batch_size: int) -> None:
        self.model, self.batch_size = model.train(), batch_size
        loader = built.batches
        everything = loader.build_batch(loader.rows)
        self.inputs, self.targets = everything.inputs, everything.targets["label"]
        self.present = {name: torch.ones(batch_size, dtype=torch.bool) for name in self.inputs}
        learned = [(name, p) for name, p in model.named_parameters() if not name.startswith("probe.")]
        self.optimizer = build_optimizer(session.config, built.stage, model, learned)
        self.order, self.at = torch.randperm(len(self.targets)), 0

    def block(self, steps: int) -> None:
        for _ in range(steps):
            if self.at + self.batch_size > len(self.order):
                self.order, self.at = torch.randperm(len(self.targets)), 0
            rows = self.order[self.at : self.at + self.batch_size]
            self.at += self.batch_size
            inputs = {name: pick(value, rows) for name, value in self.inputs.items()}
            output = self.model(Batch(inputs, self.present, {}, rows))["label"]
            loss = torch.nn.functional.cross_entropy(output, self.targets[rows])
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def pick(value, rows):
    return {name: part[rows] for name, part in value.items()} if isinstance(value, dict) else value[rows]


def print_parts(session: Session, built: BuiltStage, callback: Callback) -> None:
    """Print what the engine does beside the model: each part by itself, in microseconds a step."""
    state = TrainState()
    losses = built.learner(built.batches.batch(0))

    def micro(name, call, count=200):
        began = time.process_time()
        for step in range(count):
            call(step)
        print(f"  {name:28}{(time.process_time() - began) / count * 1e6:8.0f} us")

    print("what the rest is spent on:")
    micro("gathering a batch", built.batches.batch)
    micro("learning rate", lambda step: built.config.lr_factor(0.5))
    micro("keeping losses", lambda step: state.losses.add(losses))
    micro("callbacks", lambda step: (callback.on_step_end(state, losses), callback.on_checkpoint(state)))
    micro("accelerate's no-op wrappers", lambda step: session.accelerator.autocast().__enter__())


if __name__ == "__main__":
    sys.exit(main())
