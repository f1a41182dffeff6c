"""One stage of one run: from its line in the strategy to trained weights on disk."""

import hashlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import save_on_cpu

from mmrun.data import split
from mmrun.run import build, features
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session, heads_that_learn
from mmrun.run.stage_checkpoints import Kept, load_stage_weights
from mmrun.seeding import named_seed
from mmrun.training import budget, checkpoint, cost, device, dry_run, engine, reuse, throughput
from mmrun.training.compile import compile_learner, mode_of, uncompile
from mmrun.training.ema import EMA
from mmrun.training.grad_accumulation import split as split_batch
from mmrun.training.profile import Profile, told
from mmrun.training.stages import Stage

HEARTBEAT = 5.0  # seconds between two signs of life in status.json
DECISIVE = (  # keys of the trainer that change what comes out of a stage
    *("batch_size", "eval_batch_size", "evaluate_every", "group_by_length", "cache_features"),
    *("precision", "compile", "channels_last", "tf32", "deterministic", "fsdp"),
)


def train(session: Session, stage: Stage, learning: set[str]) -> dict[str, Any]:
    """Train a stage, or go on with it, or find it finished; leave its weights in the model and give what it cost."""
    last = session.folder.checkpoint(stage.name, "last")
    if not (checkpoint.exists(last) and checkpoint.load(last)[0]["finished"]):
        session.watch.stage(stage.name)
        training = StageTraining(session, stage, learning)
        if stage.config.reuse:
            training.run_or_reuse(Path(session.config.cache).expanduser() / "stages" / training.key())
        else:
            training.run()
        session.accelerator.wait_for_everyone()
    load_stage_weights(session, stage)
    (state,) = checkpoint.load(last)
    ledger: dict[str, Any] = state["cost"]
    return ledger


def make_learner(session: Session, stage: Stage, learning: set[str]) -> engine.Learner:
    """Join the model with a stage's objective, and let learn what the stage wants."""
    for name, parameter in session.model.named_parameters():
        parameter.requires_grad_(name in learning)
    objective = build.objective(session.config, stage, learning, session.data, session.model)
    offload = partial(save_on_cpu, pin_memory=session.accelerator.device.type == "cuda")
    saving = offload if session.config.trainer.offload_activations else nullcontext
    return engine.Learner(session.model, objective, saving).to(session.accelerator.device)


class StageTraining:
    """A stage under way. It is the `events` of the engine: it writes checkpoints, the log and signs of life."""

    def __init__(self, session: Session, stage: Stage, learning: set[str]) -> None:
        self.session, self.stage = session, stage
        config, accelerator = session.config, session.accelerator
        torch.manual_seed(session.noise(stage.name))
        self.bare = make_learner(session, stage, learning)
        self.objective = type(self.bare.objective).__name__  # before torch makes a class of its own of what it cuts
        session.placement.share(self.bare)
        self.balance = config.balance if build.balanced(learning) else None
        self.augment = build.augmentation(config, stage, learning, session.data)
        learned = [(name, p) for name, p in self.bare.named_parameters() if p.requires_grad]
        self.optimizer = build.optimizer(config, stage, [(name.removeprefix("model."), p) for name, p in learned])
        self.average = None if stage.config.ema_decay is None else EMA(learned, stage.config.ema_decay)

        rows = session.data.rows[stage.config.rows]
        self.batches = session.loader(rows, config.trainer.batch_size, stage.modalities)
        self.bare.train()
        with reuse.parts_run(session.model) as parts:
            self.flops = cost.flops_per_step(self.bare, self.batches.batch(0)) * accelerator.num_processes
        self.learns = {reuse.part(name) for name in learning}
        self.parts = parts | self.learns  # what of the model this stage runs or teaches
        self.trainable_parameters = cost.count([p for _, p in learned])
        self.learner = session.placement.prepare(self.bare)
        self.progress = engine.Progress()
        heads = heads_that_learn(learning)
        self.judged = [] if stage.config.monitor == "loss" else heads  # what validation looks at; none: the loss
        self.validate, self.plan = self._plan(heads)
        self.features: dict[str, Any] | None = None  # what computing those of frozen encoders cost, where that was done
        self.kept = Kept(session, stage, self.bare, self.optimizer, self.average)
        self.saved = self.beat = time.monotonic()
        cost.reset_peak_memory(accelerator.device)

    def run(self) -> None:
        """Train to the end."""
        session = self.session
        trainer, accelerator = session.config.trainer, session.accelerator
        self._read_features()
        if checkpoint.exists(self.kept.last):
            self.progress = self.kept.restore()
            self._note(f"goes on after step {self.progress.step}")
        else:
            self.kept.save(self.progress)
        if session.writes:
            session.folder.set_status("running", self.stage.name, self.progress.step, 0.0)
        self.compile()
        profile = Profile(self.batches, self.bare, session.folder.profile(self.stage.name), self._profiled)
        batches = profile if trainer.profile and session.writes else self.batches
        peak = throughput.peak_of(accelerator.device, trainer.precision, trainer.tf32)
        self.meter = throughput.ThroughputMeter(batches, accelerator.device, peak, self.progress)
        engine.fit(
            self.learner,
            self.meter,
            self.optimizer,
            self.plan,
            self.progress,
            accelerator,
            self.validate,
            self,
        )
        self.kept.finish(self._cost())

    def _read_features(self) -> None:
        """Put features in place of the inputs that frozen encoders alone read; from here on a step costs less."""
        session, stage = self.session, self.stage
        batch, allowance = self.batches.batch(0), self.plan.allowance
        found = features.columns(session, stage, self.bare, batch, self.judged, allowance, self._give_sign)
        if found:
            self.session = replace(session, columns=session.columns | found)
            self.batches = self.session.loader(self.batches.rows, self.batches.batch_size, stage.modalities)
            inputs, world = self.flops, session.accelerator.num_processes
            self.flops = cost.flops_per_step(self.bare, self.batches.batch(0)) * world
            of_row = (inputs - self.flops) / self.batches.batch_size
            self.features = features.cost(found, self.batches.rows, of_row)

    def run_or_reuse(self, stored: Path) -> None:
        """Load the stage from where an earlier run stored it; else train it, and store it."""
        session = self.session
        with reuse.exclusive(stored) if session.writes else nullcontext():
            session.accelerator.wait_for_everyone()
            if not checkpoint.exists(stored):
                self.run()
                if session.writes:
                    self.kept.store(stored, self.learns, self._cost())
            else:
                ledger = self.kept.take(stored)
                self._note(f"reused, charged {ledger['seconds']:.1f} s")

    def compile(self) -> None:
        """Let torch compile the training pass, where the run wants it."""
        wanted, accelerator = self.session.config.trainer.compile, self.session.accelerator
        if device.chosen(wanted, accelerator.device):
            parts = max(self.plan.accumulate, self.progress.accumulate)
            batch = split_batch(self.batches.batch(self.progress.step), parts)[0]
            compile_learner(self.learner, batch, mode_of(wanted, parts), accelerator, self._note)

    def _profiled(self, found: dict[str, float]) -> None:
        self._note(f"{told(found)}; {self.session.folder.profile(self.stage.name)}")
        self.session.folder.log({"event": "profile", "stage": self.stage.name, **found})

    def _note(self, text: str) -> None:
        self.session.watch.note(f"{self.stage.name}: {text}")

    def key(self) -> str:
        """Give the name of this stage's result: a hash of all it depends on, the weights it starts from included."""
        session, stage = self.session, self.stage
        config = session.config
        weights = session.placement.whole(reuse.tensors_of(session.model.state_dict(), self.parts))
        objective = session.placement.whole(self.bare.objective.state_dict())
        determinants = {
            "stage": {**asdict(stage.config), "reuse": None, "modalities": stage.modalities, "name": stage.name},
            "optimizer": config.optimizer if stage.config.optimizer is None else stage.config.optimizer,
            "parts": {name: session.node(name) for name in sorted(self.parts)},
            "strategy": [config.strategy.adapt, self.balance, self.augment],
            "weights": [reuse.digest(weights), reuse.digest(objective)],
            "preprocess": {modality: config.encoder[modality]["preprocess"] for modality in stage.modalities},
            "data": [session.data.table.fingerprint, split.fingerprint(session.data.table.split)],
            "rows": hashlib.sha256(session.data.rows[stage.config.rows].tobytes()).hexdigest(),
            "allowance": asdict(self.plan.allowance),
            "trainer": {key: getattr(config.trainer, key) for key in DECISIVE},
            "device": [session.accelerator.device.type, session.accelerator.num_processes],
            "seed": config.seed,
        }
        return session.placement.agreed(reuse.key(determinants))

    def _plan(self, heads: list[str]) -> tuple[Callable[[], tuple[float, run_metrics.Metrics]], engine.Plan]:
        """Say how long to train, how often to look, and at which figure."""
        config, stage = self.session.config, self.stage.config
        rows, batch_size = len(self.session.data.rows["all"]), config.trainer.batch_size
        names = (
            run_metrics.primary_metrics(self.session, heads) if stage.monitor == "primary_metric" else [stage.monitor]
        )
        by_loss = stage.monitor == "loss"
        return self._validate_loss if by_loss else lambda: self._validate_heads(heads, names), engine.Plan(
            allowance=budget.allowance(config.budget, self.stage, rows, batch_size, self.flops),
            evaluate_every=max(1, round(config.trainer.evaluate_every * rows / batch_size)),
            higher_is_better=not by_loss and run_metrics.higher_is_better(names[0]),
            schedule=stage.schedule,
            warmup=stage.warmup,
            clip=stage.max_grad_norm,
            accumulate=stage.grad_accum_steps,
            patience=stage.patience,
        )

    def _validate_loss(self) -> tuple[float, run_metrics.Metrics]:
        session = self.session
        batches = session.counted("val", self.stage.modalities)
        seed = named_seed(session.config.seed, "evaluation")
        with self.kept.weights_that_count():
            losses = engine.mean_losses(self.learner, batches, session.accelerator, seed)
        return losses["loss"], losses

    def _validate_heads(self, heads: list[str], names: list[str]) -> tuple[float, run_metrics.Metrics]:
        session = self.session
        batches = session.ordered("val", self.stage.modalities)
        with self.kept.weights_that_count():
            outputs, targets, _ = engine.predict(session.model, heads, batches, session.accelerator)
        found = run_metrics.compute_metrics(session, outputs, targets)
        return run_metrics.monitored(found, names, self.stage.key_path), found

    # ------------------------------------------------------------------------------------------ what the engine tells

    def cut(self, progress: engine.Progress) -> None:
        """Say, and log, that memory ran out."""
        session, parts = self.session, progress.accumulate
        rows = -(-session.config.trainer.batch_size // parts)
        self._note(f"out of memory; a batch is cut into {parts} micro-batches of {rows} rows")
        if session.config.trainer.compile == "reduce-overhead":
            uncompile(self.bare)
            self._note("training goes on uncompiled: CUDA graphs allow one micro-batch a step")
        event = {"event": "out_of_memory", "stage": self.stage.name, "step": progress.step, "accumulate": parts}
        session.folder.log(event)

    def stepped(self, progress: engine.Progress, losses: dict[str, Tensor]) -> None:
        """Show a step, and let the average follow it."""
        if self.average is not None:
            self.average.update(progress.step)
        spent = self.plan.allowance.spent(progress.step, progress.seconds)
        self.session.watch.step(spent, self.session.config.trainer.batch_size, losses)

    def evaluated(self, progress: engine.Progress, losses: run_metrics.Metrics, found: run_metrics.Metrics) -> None:
        """Log and show the figures of an evaluation."""
        session = self.session
        values = {f"train/{name}": value for name, value in losses.items()}
        values |= {f"val/{name}": value for name, value in found.items()}
        values |= self.meter.metrics(progress, session.config.trainer.batch_size, self.flops)
        if session.config.trainer.log_modality_gradients:
            self.bare.train()
            batch = split_batch(self.batches.batch(progress.step), progress.accumulate)[0]
            values |= dry_run.balance(self.bare, batch)
        if session.writes:
            ledger = {key: self._cost()[key] for key in ("epochs", "samples", "seconds", "flops")}
            event = {"event": "evaluated", "stage": self.stage.name, "step": progress.step}
            session.folder.log({**event, **ledger, **values})
        if session.config.trainer.trackers:
            session.accelerator.log({f"{self.stage.name}/{k}": v for k, v in values.items()}, step=progress.step)
        session.watch.figures(self.stage.name, values)

    def improved(self, progress: engine.Progress) -> None:
        """Keep the weights of the best evaluation so far."""
        if self.stage.config.keep == "best":
            self.kept.keep_best(progress)

    def settled(self, progress: engine.Progress) -> None:
        """Take a checkpoint and give a sign of life where it is time."""
        now = time.monotonic()
        if self.session.placement.agreed(now - self.saved >= self.session.config.trainer.save_every):
            self.kept.save(progress)
            self.saved = now
        self._give_sign()

    def _give_sign(self) -> None:
        now, progress = time.monotonic(), self.progress
        if self.session.writes and now - self.beat >= HEARTBEAT:
            spent = self.plan.allowance.spent(progress.step, progress.seconds)
            self.session.folder.set_status("running", self.stage.name, progress.step, min(1.0, spent))
            self.beat = now

    def _cost(self) -> dict[str, Any]:
        session, progress = self.session, self.progress
        samples = progress.step * session.config.trainer.batch_size
        once = {"seconds": 0.0, "flops": 0.0} if self.features is None else self.features
        return {
            "objective": self.objective,
            "epochs": samples * self.stage.reads / len(session.data.rows["all"]),
            "steps": progress.step,
            "best_step": progress.best_step,
            "samples": samples,
            "seconds": progress.seconds + once["seconds"],
            "flops": self.flops * progress.step + once["flops"],
            "samples_per_second": samples / progress.seconds,  # of training alone
            "features": self.features,
            "accumulate": max(progress.accumulate, self.stage.config.grad_accum_steps),
            "peak_memory": cost.peak_memory(session.accelerator.device),
            "trainable_parameters": self.trainable_parameters,
            "total_parameters": cost.count(list(session.model.parameters())),
            "reused": False,
        }
