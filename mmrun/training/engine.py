"""The training loop. It works on built objects, and knows no config file, no run folder and no terminal."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.amp import GradScaler

from mmrun.head import Head
from mmrun.models.multimodal import Multimodal
from mmrun.training.callback import Callback
from mmrun.training.cpu_copies import CPUCopies
from mmrun.training.grad_accumulation import GradientAccumulator, first_rows
from mmrun.training.learner import Learner
from mmrun.training.nan_guard import NanGuard
from mmrun.training.state import Batches, FitConfig, TrainState
from mmrun.types import Batch

Validate = Callable[[], tuple[float, dict[str, float]]]


def fit(
    learner: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    state: TrainState,
    accelerator: Accelerator,
    validate: Validate,
    callback: Callback,
    guard: NanGuard | None = None,
) -> None:
    """Train until the budget is spent or a callback stops the stage.

    Args:
        learner: a `Learner`, as the accelerator prepared it.
        batches: the training batches, by step.
        optimizer: a plain optimizer; each of its parameter groups holds a `base_lr`.
        config: how long and how to train.
        state: where to start; it is updated in place.
        accelerator: precision, devices and processes.
        validate: returns the monitored value and all validation metrics.
        callback: is called after each step and evaluation.
        guard: decides what happens where a loss is not finite; None: the stage ends.

    Raises:
        NonFiniteLossError: a training loss is not finite.
    """
    guard = NanGuard(learner, accelerator) if guard is None else guard
    bare: Learner = accelerator.unwrap_model(learner)

    def on_more_micro_batches(number: int) -> None:
        state.grad_accum_steps = number
        callback.on_out_of_memory(state)

    micro_batches = max(config.grad_accum_steps, state.grad_accum_steps)
    gradients = GradientAccumulator(learner, accelerator, micro_batches, on_more_micro_batches)
    learner.train()
    while not finished(config, state):
        began = time.perf_counter()
        progress = config.budget.spent(state.step, state.seconds)
        bare.on_step_start(progress)
        factor = config.lr_factor(progress)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor * state.lr_scale
        batch = batches.batch(state.step)
        losses = gradients.add(batch)
        if guard.accepts(state.step, batch, losses):
            take_step(optimizer, learner, accelerator.scaler, config.max_grad_norm)
            bare.on_step_end()
            state.losses.add(losses)
        else:
            gradients.discard()
        state.step += 1
        state.seconds += time.perf_counter() - began
        callback.on_step_end(state, losses)

        if state.step % config.evaluate_every == 0 or config.budget.spent(state.step, state.seconds) >= 1:
            guard.check(batches)
            evaluate(learner, config, state, accelerator, validate, callback)
        callback.on_checkpoint(state)


def evaluate(
    learner: nn.Module,
    config: FitConfig,
    state: TrainState,
    accelerator: Accelerator,
    validate: Validate,
    callback: Callback,
) -> None:
    """Read the training losses, validate, and report both.

    Args:
        learner: in training mode, also afterwards.
        config: how to train.
        state: updated where the monitored value is the best so far.
        accelerator: precision, devices and processes.
        validate: returns the monitored value and all validation metrics.
        callback: is called with the metrics.
    """
    metrics = read_train_losses(state, accelerator)
    learner.eval()
    value, val_metrics = validate()
    learner.train()
    is_best = state.update_best(value, config.higher_is_better)
    metrics |= {f"val/{name}": metric for name, metric in val_metrics.items()}
    callback.on_evaluate_end(state, metrics)
    if is_best:
        callback.on_best(state)


def take_step(
    optimizer: torch.optim.Optimizer, learner: nn.Module, scaler: GradScaler | None, max_grad_norm: float | None
) -> None:
    """Update the weights and clear the gradients.

    accelerate's own optimizer wrapper is not used: it looks for a package on disk at every step.

    Args:
        optimizer: a plain optimizer.
        learner: whose gradients are clipped.
        scaler: of fp16; it skips steps whose gradients overflowed.
        max_grad_norm: None: gradients are not clipped.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    if max_grad_norm is not None:
        nn.utils.clip_grad_norm_(learner.parameters(), max_grad_norm)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()


def read_train_losses(state: TrainState, accelerator: Accelerator) -> dict[str, float]:
    """Return the mean losses since the last evaluation as `train/<name>`, over all processes.

    Reading them waits for the steps that a GPU has still to do, so the time counts as training. There are none where
    every step was skipped.
    """
    began = time.perf_counter()
    means = {name: accelerator.reduce(mean, "mean").item() for name, mean in state.losses.pop().items()}
    state.seconds += time.perf_counter() - began
    return {f"train/{name}": mean for name, mean in means.items()}


def finished(config: FitConfig, state: TrainState) -> bool:
    """Return whether the stage is over."""
    return state.should_stop or config.budget.spent(state.step, state.seconds) >= 1


# ---------------------------------------------------------------------------------------------------- evaluation


class EvalBatches(Protocol):
    """The rows of a split, in batches; see `data.loader.Loader`."""

    def counted(self) -> Iterator[tuple[Batch, int]]:
        """Yield each batch with the number of its rows that count: the last rows may only pad it to an even share."""
        ...

    def without_inputs(self) -> Batch:
        """Return targets and presence of all rows, over all processes."""
        ...


@torch.no_grad()
def mean_losses(learner: nn.Module, batches: EvalBatches, accelerator: Accelerator, seed: int) -> dict[str, float]:
    """Return the losses of all rows, as if they were one batch; random masks are the same at each call.

    Args:
        learner: a `Learner`, in eval mode.
        batches: the rows.
        accelerator: whose processes share the rows.
        seed: of the random masks.
    """
    totals: dict[str, Tensor] = {}
    rows = 0
    bare: Learner = accelerator.unwrap_model(learner)
    total_counts = bare.count_visible(batches.without_inputs())
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        for batch, size in batches.counted():
            part = first_rows(batch, max(1, size))
            weighed = bare.weigh(part, bare.count_visible(part), total_counts)
            for name, loss in learner(weighed).items():
                totals[name] = totals.get(name, torch.zeros((), device=loss.device)) + loss.float() * size
            rows += size
    everywhere = accelerator.reduce(torch.tensor(float(rows), device=accelerator.device))
    return {name: (accelerator.reduce(total) / everywhere).item() for name, total in totals.items()}


Outputs = dict[Head, dict[str, Tensor]]  # by head and task, [N, C]


@torch.no_grad()
def predict(
    model: Multimodal, heads: Sequence[Head], batches: Iterator[Batch], accelerator: Accelerator
) -> tuple[Outputs, dict[str, Tensor], Tensor]:
    """Return outputs, targets and row numbers, on the CPU of every process.

    What a batch gives is gathered and copied to the CPU while the device computes the next one.

    Args:
        model: a `Multimodal`, in eval mode.
        heads: whose outputs to compute.
        batches: the rows; processes may repeat some to share them evenly.
        accelerator: precision and processes.

    Returns:
        The outputs by head and task, [N, C]; the targets by task, [N] or [N, C]; the row numbers [N], each once and
        ascending.
    """
    collected = CPUCopies()
    for batch in batches:
        with accelerator.autocast():
            outputs = {}
            for head in heads:
                outputs[head] = model(batch) if head.modality is None else model.forward_unimodal(batch, head.modality)
        collected.append(accelerator.gather((outputs, batch.targets, batch.index)))
    outputs, targets, index = collected.concatenate()
    rows, positions = _first_of_each(index)
    if rows.equal(index):
        return outputs, targets, rows
    return _pick(outputs, positions), _pick(targets, positions), rows


def _first_of_each(index: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct row numbers, ascending, and the position where each first occurs."""
    order = torch.argsort(index, stable=True)
    ascending = index[order]
    first = torch.ones_like(ascending, dtype=torch.bool)
    first[1:] = ascending[1:] != ascending[:-1]
    return ascending[first], order[first]


def _pick(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[rows]
    return {key: _pick(item, rows) for key, item in value.items()}
