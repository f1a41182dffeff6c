"""Engine against a bare hand-written PyTorch loop: same model, data, batch size, optimiser; samples/s, ours over bare.

    scripts/bench overhead [--dataset digits] [--modalities image,audio] [--batch-size 40] [--steps 20] [--rounds 15]

The two sides alternate in blocks of steps within one process. The bare side indexes float tensors in memory.
"""

import argparse
import copy
import sys
import tempfile
import time
from dataclasses import replace

import numpy as np
import torch

from mmrun import compose
from mmrun.instantiate import instantiate
from mmrun.results.folder import RunFolder
from mmrun.run.pipeline import build_accelerator, open_session
from mmrun.run.stage import StageTraining
from mmrun.training import engine
from mmrun.training.budget import StageBudget
from mmrun.training.callback import NullCallback
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
        session = open_session(config, RunFolder(scratch), NullCallback(), build_accelerator(config))
        (stage, learning) = session.stages["train"]
        training = StageTraining(session, stage, learning)
        bare = Bare(copy.deepcopy(session.model), training, args.batch_size)
        ratios, rates = [], []
        for _ in range(args.rounds + 1):  # the first warms up
            engine_rate = timed(lambda: engine_block(training, args.steps), args)
            bare_rate = timed(lambda: bare.block(args.steps), args)
            ratios.append(engine_rate / bare_rate)
            rates.append((engine_rate, bare_rate))
        ratios, rates = ratios[1:], rates[1:]
        for ratio, (ours, theirs) in zip(ratios, rates, strict=True):
            print(f"engine {ours:8.0f}  bare {theirs:8.0f} samples/s  ratio {ratio:.3f}")
        print(f"median ratio {float(np.median(ratios)):.3f} ({args.modalities}, batch {args.batch_size})")
        parts(training, args)
    return 0


def timed(block, args) -> float:  # samples/s
    began = time.perf_counter()
    block()
    return args.steps * args.batch_size / (time.perf_counter() - began)


class NoEvaluation:
    """The events of a stage without its validation, which the bare loop has not either."""

    def __init__(self, training: StageTraining) -> None:
        self.stepped, self.settled = training.stepped, training.settled

    def cut(self, progress): ...
    def evaluated(self, progress, losses, figures): ...
    def improved(self, progress): ...


def engine_block(training: StageTraining, steps: int) -> None:
    allowance = StageBudget(steps=training.progress.step + steps)
    plan = replace(training.plan, allowance=allowance, evaluate_every=10**9)
    engine.fit(
        training.learner,
        training.batches,
        training.optimizer,
        plan,
        training.progress,
        training.session.accelerator,
        lambda: (0.0, {}),
        NoEvaluation(training),
    )


class Bare:
    """What one writes by hand."""

    def __init__(self, model, training: StageTraining, batch_size: int) -> None:
        self.model, self.batch_size = model.train(), batch_size
        loader = training.batches
        everything = loader._gather(loader.rows)
        self.inputs, self.targets = everything.inputs, everything.targets["label"]
        self.present = {name: torch.ones(batch_size, dtype=torch.bool) for name in self.inputs}
        learned = [p for name, p in model.named_parameters() if not name.startswith("probe.")]
        node = training.session.config.optimizer
        self.optimizer = instantiate(node, "optimizer", params=learned)
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


def parts(training: StageTraining, args) -> None:
    """Say what the engine does beside the model: each part by itself, in microseconds a step."""
    session, plan = training.session, training.plan
    batch = training.batches.batch(0)
    losses = training.learner(batch)

    def micro(name, call, count=200):
        began = time.perf_counter()
        for step in range(count):
            call(step)
        print(f"  {name:28}{(time.perf_counter() - began) / count * 1e6:8.0f} us")

    print("what the rest is spent on:")
    micro("gathering a batch", training.batches.batch)
    micro("learning rate", lambda step: plan.rate(0.5))
    micro("keeping losses", lambda step: training.progress.tally.add(losses))
    micro("events", lambda step: (training.stepped(training.progress, losses), training.settled(training.progress)))
    micro("accelerate's no-op wrappers", lambda step: session.accelerator.autocast().__enter__())


if __name__ == "__main__":
    sys.exit(main())
