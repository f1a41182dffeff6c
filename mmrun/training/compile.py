"""torch.compile for a learner, with a fallback: what cannot be compiled is trained uncompiled."""

from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import nn

from mmrun.training.dry_run import no_side_effects
from mmrun.training.grad_accumulation import scale_loss
from mmrun.types import Batch


def compile_mode(requested: bool | str, micro_batches: int) -> str:
    """Return torch.compile's mode.

    CUDA graphs need steps of one micro-batch: a second one would overwrite gradients.

    Args:
        requested: `trainer.compile`.
        micro_batches: per step.
    """
    if requested == "reduce-overhead":
        return "default" if micro_batches > 1 else "reduce-overhead"
    return "max-autotune-no-cudagraphs" if requested == "max-autotune" else "default"


def compile_learner(
    learner: nn.Module, batch: Batch, mode: str, accelerator: Accelerator, on_message: Callable[[str], None]
) -> None:
    """Compile a learner's training pass in place; the names of its submodules do not change.

    One forward and backward pass is tried, without side effects; where it fails, the learner stays uncompiled.
    Evaluation is not compiled: its batches have other sizes.

    Args:
        learner: a `Learner`, as the accelerator prepared it.
        batch: for the trial.
        mode: of torch.compile.
        accelerator: precision and processes.
        on_message: receives the reason where compilation fails.
    """
    bare = accelerator.unwrap_model(learner)
    learner.train()
    bare._compiled_call_impl = CompiledCall(bare, mode)
    try:
        with no_side_effects(bare, accelerator.device), accelerator.no_sync(learner):
            bare.objective.backward(bare.model, learner(batch), partial(scale_loss, None, 1.0))
    except torch.OutOfMemoryError:
        pass  # not the compiler's fault: the loop splits batches that memory does not hold
    except Exception as error:  # the same pass succeeded, uncompiled, when its operations were counted
        uncompile(bare)
        on_message(f"training continues uncompiled: {type(error).__name__}: {root_cause(error)}")


def uncompile(module: nn.Module) -> None:
    """Undo `compile_learner`.

    Args:
        module: the bare learner.
    """
    module._compiled_call_impl = None


def root_cause(error: BaseException) -> str:
    """Return the first line of the error that caused the others, and the second where the first only announces it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or "no reason given"


class CompiledCall:
    """Calls a module: compiled in training mode, as it is in eval mode.

    Args:
        module: called as it is in eval mode.
        mode: of torch.compile.
    """

    def __init__(self, module: nn.Module, mode: str) -> None:
        self.module = module
        self.eager: Callable[..., object] = module._call_impl
        self.compiled: Callable[..., object] = torch.compile(module._call_impl, mode=mode, dynamic=False)

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Return the module's output."""
        return self.compiled(*args, **kwargs) if self.module.training else self.eager(*args, **kwargs)
