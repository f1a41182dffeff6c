"""Forward and backward passes that leave no trace in the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from mmrun.training.learner import Learner
from mmrun.types import Batch


@contextmanager
def no_side_effects(learner: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore buffers, random states and empty gradients when the context closes.

    Args:
        learner: whose buffers and gradients are restored.
        device: whose random state is restored, beside the CPU's.
    """
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in learner.named_buffers():
                buffer.copy_(buffers[name])
        learner.zero_grad(set_to_none=True)


def try_step(learner: Learner, batch: Batch) -> None:
    """Run a forward and a backward pass while holding as much memory as AdamW's state: two values per parameter.

    Args:
        learner: left as it is, in training mode.
        batch: of a step.

    Raises:
        torch.OutOfMemoryError: the step does not fit.
    """
    learner.train()
    trainable = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    with no_side_effects(learner, batch.index.device):
        optimizer_state = [torch.empty_like(parameter) for parameter in trainable for _ in range(2)]
        learner.objective.backward(learner.model, learner(batch), lambda loss: loss)
        del optimizer_state


def largest_size(attempt: Callable[[int], None], limit: int) -> int:
    """Return the largest power of two, up to a limit, for which an attempt does not run out of memory; at least 1.

    Args:
        attempt: called with a size; raises `torch.OutOfMemoryError` where it does not fit.
        limit: largest size to try.
    """
    size = 1
    while 2 * size <= limit and _fits(attempt, 2 * size):
        size *= 2
    return size


def _fits(attempt: Callable[[int], None], size: int) -> bool:
    try:
        attempt(size)
    except torch.OutOfMemoryError:
        return False
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True


def modality_gradients(learner: nn.Module, batch: Batch) -> dict[str, float]:
    """Measure on one batch how the modalities share the gradient, and where they conflict.

    Args:
        learner: a `Learner` in training mode.
        batch: rows to measure on.

    Returns:
        `gradient/<modality>`: norm of the loss's gradient in the modality's encoder, as a share of the sum over all
        encoders (imbalance: Wang et al., 2020; Peng et al., 2022). `conflict/<a>-<b>`: cosine between the gradients
        that a alone and b alone give to fusion and heads; negative values conflict (Yu et al., 2020). Frozen parts
        count as 0; what is undefined is left out.
    """
    modalities = list(batch.present)
    encoders = {m: _trainable(learner, f"model.encoder.{m}.") for m in modalities}
    shared = _trainable(learner, "model.fusion.") + _trainable(learner, "model.head.")
    with no_side_effects(learner, batch.index.device):
        parameters = [parameter for encoder in encoders.values() for parameter in encoder]
        gradients = dict(zip(map(id, parameters), _gradients(learner, batch, parameters), strict=True))
        norms = {m: _norm([gradients[id(parameter)] for parameter in encoder]) for m, encoder in encoders.items()}
        alone = {m: _flatten(_gradients(learner, _only(batch, m), shared)) for m in modalities}
    total = sum(norms.values())
    metrics = {f"gradient/{m}": norm / total for m, norm in norms.items() if total > 0}
    for a, b in combinations(modalities, 2):
        if alone[a].norm() > 0 and alone[b].norm() > 0:
            metrics[f"conflict/{a}-{b}"] = torch.cosine_similarity(alone[a], alone[b], dim=0).item()
    return metrics


def _trainable(learner: nn.Module, prefix: str) -> list[nn.Parameter]:
    return [p for name, p in learner.named_parameters() if name.startswith(prefix) and p.requires_grad]


def _only(batch: Batch, modality: str) -> Batch:
    """Return the batch with all modalities but one missing."""
    present = {m: mask if m == modality else torch.zeros_like(mask) for m, mask in batch.present.items()}
    return batch._replace(present=present)


def _gradients(learner: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> list[Tensor]:
    if not parameters:
        return []
    gradients = torch.autograd.grad(learner(batch)["loss"], parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]


def _flatten(gradients: list[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten().float() for gradient in gradients]) if gradients else torch.zeros(1)


def _norm(gradients: list[Tensor]) -> float:
    return float(_flatten(gradients).norm())
