"""What training costs, counted and not estimated."""

import resource

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmrun.training.dry_run import without_trace
from mmrun.training.engine import Learner
from mmrun.training.grad_accumulation import refuse_one_row, split
from mmrun.types import Batch


def flops_per_step(learner: Learner, batch: Batch) -> float:
    """Count the floating-point operations of one forward and backward pass, and leave no trace of it.

    Matrix products, convolutions and attention are counted, a multiply-add as two; fused recurrent kernels are not.
    Of a batch that memory does not hold one half is counted, twice.
    """
    try:
        with without_trace(learner, batch.index.device), FlopCounterMode(display=False) as counter:
            learner.objective.backward(learner.model, learner(batch), lambda loss: loss)
        return float(counter.get_total_flops())
    except torch.OutOfMemoryError as error:
        refuse_one_row(batch, error)
    return 2 * flops_per_step(learner, split(batch, 2)[0])


def reset_peak_memory(device: torch.device) -> None:
    """Start a new reading of the peak; on a CPU the system keeps one for the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Give the most bytes held: on the GPU since the last reset, on a CPU by the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def count(parameters: list[nn.Parameter]) -> int:
    """Count the numbers in some parameters."""
    return sum(parameter.numel() for parameter in parameters)
