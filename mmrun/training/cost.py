"""What training costs: counted, not estimated."""

import resource
from collections.abc import Iterable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmrun.objectives.synthetic_rows import SyntheticRows
from mmrun.training.built_stage import BuiltStage
from mmrun.training.dry_run import no_side_effects
from mmrun.training.grad_accumulation import refuse_one_row, split
from mmrun.training.learner import Learner
from mmrun.training.stage_cost import StageCost
from mmrun.training.state import TrainState
from mmrun.types import Batch


def stage_cost(built: BuiltStage, state: TrainState) -> StageCost:
    """Return what a stage has cost so far.

    Args:
        built: the stage.
        state: how far it has come; `state.seconds` is above 0.
    """
    samples = state.step * built.batch_size
    once = built.feature_cost
    trainable = [parameter for parameter in built.learner.parameters() if parameter.requires_grad]
    return {
        "objective": built.objective,
        "epochs": built.epochs(state.step),
        "steps": state.step,
        "best_step": state.best_step,
        "samples": samples,
        "seconds": state.seconds + (0.0 if once is None else once.seconds),
        "flops": built.flops_per_step * state.step + (0.0 if once is None else once.flops),
        "samples_per_second": samples / state.seconds,
        "features": None if once is None else vars(once),
        "grad_accum_steps": max(state.grad_accum_steps, built.config.grad_accum_steps),
        "peak_memory": peak_memory(built.device),
        "trainable_parameters": count_parameters(trainable),
        "total_parameters": count_parameters(built.learner.model.parameters()),
        "reused": False,
        "synthetic_rows": count_synthetic_rows(built.learner.objective),
    }


def flops_per_step(learner: Learner, batch: Batch) -> float:
    """Count the floating-point operations of one forward and backward pass, without side effects.

    Matrix products, convolutions and attention count, a multiply-add as two operations; fused recurrent kernels do
    not. Where memory does not hold the batch, half of it is counted, twice.

    Args:
        learner: model and objective.
        batch: rows of one step of this process.

    Raises:
        RunError: memory does not hold a single row.
    """
    try:
        with no_side_effects(learner, batch.index.device), FlopCounterMode(display=False) as counter:
            learner.objective.backward(learner.model, learner(batch), lambda loss: loss)
        return float(counter.get_total_flops())
    except torch.OutOfMemoryError as error:
        refuse_one_row(batch, error)
    return 2 * flops_per_step(learner, split(batch, 2)[0])


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory; on a CPU the system keeps one per process, which cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return peak memory in bytes: on a GPU since the last reset, on a CPU since the process started.

    Args:
        device: whose memory is measured.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """Count the scalars in some parameters."""
    return sum(parameter.numel() for parameter in parameters)


def count_synthetic_rows(objective: nn.Module) -> int:
    """Return how many training rows an objective has made from others so far."""
    return sum(int(part.total) for part in objective.modules() if isinstance(part, SyntheticRows))
