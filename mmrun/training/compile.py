"""A compiled learner, with a way back: what cannot be compiled is trained as it is."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from mmrun.training.dry_run import without_trace
from mmrun.training.grad_accumulation import scaled
from mmrun.types import Batch


def mode_of(wanted: bool | str, parts: int) -> str:
    """Give torch.compile's mode. CUDA graphs are for steps of one micro-batch: a second would overwrite gradients."""
    if wanted == "reduce-overhead":
        return "default" if parts > 1 else "reduce-overhead"
    return "max-autotune-no-cudagraphs" if wanted == "max-autotune" else "default"


def compile_learner(
    learner: nn.Module, batch: Batch, mode: str, accelerator: Accelerator, note: Callable[[str], None]
) -> None:
    """Let torch compile a learner's training pass, in place: the names of its parts stay as they are.

    One pass forward and backward is tried, without a trace; where that fails, the learner stays uncompiled, and `note`
    hears why. Evaluation is not compiled: its batches are of other sizes.
    """
    bare = accelerator.unwrap_model(learner)
    learner.train()
    bare._compiled_call_impl = Compiled(bare, mode)
    try:
        with without_trace(bare, accelerator.device), accelerator.no_sync(learner):
            bare.objective.backward(bare.model, learner(batch), partial(scaled, None, 1.0))
    except torch.OutOfMemoryError:
        pass  # no fault of the compiler: the engine cuts batches that memory does not hold
    except Exception as error:  # the same pass went well, uncompiled, when its operations were counted
        uncompile(bare)
        note(f"training goes on uncompiled: {type(error).__name__}: {reason(error)}")


def uncompile(module: nn.Module) -> None:
    """Let a module be what it was."""
    module._compiled_call_impl = None


def reason(error: BaseException) -> str:
    """Give what went wrong first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")


class Compiled:
    """Calls a module: in training what torch made of it, else the module itself."""

    def __init__(self, module: nn.Module, mode: str) -> None:
        self.module, self.plain = module, module._call_impl
        self.quick = torch.compile(module._call_impl, mode=mode, dynamic=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Give what the module gives."""
        return self.quick(*args, **kwargs) if self.module.training else self.plain(*args, **kwargs)
