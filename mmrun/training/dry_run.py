"""A look at training from aside: a pass forward and backward that leaves no trace in the run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations

import torch
from torch import Tensor, nn

from mmrun.types import Batch


@contextmanager
def without_trace(learner: nn.Module, device: torch.device) -> Iterator[None]:
    """Give back batch statistics, random states and empty gradients as they were."""
    buffers = {name: buffer.clone() for name, buffer in learner.named_buffers()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in learner.named_buffers():
                buffer.copy_(buffers[name])
        learner.zero_grad(set_to_none=True)


def attempt(learner: nn.Module, batch: Batch) -> None:
    """Take a pass forward and backward, as much memory taken as AdamW keeps: two numbers a parameter that learns."""
    learner.train()
    learned = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    with without_trace(learner, batch.index.device):
        kept = [torch.empty_like(parameter) for parameter in learned for _ in range(2)]
        learner(batch)["loss"].backward()
        del kept


def largest(attempt: Callable[[int], None], limit: int) -> int:
    """Give the largest power of two up to a limit with which an attempt does not run out of memory: 1 at least."""
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


def balance(learner: nn.Module, batch: Batch) -> dict[str, float]:
    """Tell how the modalities share in learning, on one batch.

    `gradient/<modality>` is the norm of the loss's gradient in its encoder, as a share of all encoders' (Wang et al.,
    2020, speak of imbalance, Peng et al., 2022, of the modality that suppresses the others); `conflict/<a>-<b>` is the
    cosine between the gradients that a alone and b alone give to the parameters that both share (Yu et al., 2020):
    below 0 they pull against each other. Parts that do not learn count as 0; what is undefined is left out.
    """
    modalities = list(batch.present)
    encoders = {m: _learning(learner, f"model.encoder.{m}.") for m in modalities}
    shared = _learning(learner, "model.fusion.") + _learning(learner, "model.head.")
    with without_trace(learner, batch.index.device):
        whole = [p for parameters in encoders.values() for p in parameters]
        given = dict(zip(map(id, whole), _gradients(learner, batch, whole), strict=True))
        norms = {m: _norm([given[id(p)] for p in parameters]) for m, parameters in encoders.items()}
        alone = {m: _flat(_gradients(learner, _only(batch, m), shared)) for m in modalities}
    total = sum(norms.values())
    figures = {f"gradient/{m}": norm / total for m, norm in norms.items() if total > 0}
    for a, b in combinations(modalities, 2):
        if alone[a].norm() > 0 and alone[b].norm() > 0:
            figures[f"conflict/{a}-{b}"] = torch.cosine_similarity(alone[a], alone[b], dim=0).item()
    return figures


def _learning(learner: nn.Module, prefix: str) -> list[nn.Parameter]:
    return [p for name, p in learner.named_parameters() if name.startswith(prefix) and p.requires_grad]


def _only(batch: Batch, modality: str) -> Batch:
    """Give the batch with one modality present."""
    present = {m: there if m == modality else torch.zeros_like(there) for m, there in batch.present.items()}
    return batch._replace(present=present)


def _gradients(learner: nn.Module, batch: Batch, parameters: list[nn.Parameter]) -> list[Tensor]:
    if not parameters:
        return []
    found = torch.autograd.grad(learner(batch)["loss"], parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _flat(gradients: list[Tensor]) -> Tensor:
    return torch.cat([g.flatten().float() for g in gradients]) if gradients else torch.zeros(1)


def _norm(gradients: list[Tensor]) -> float:
    return _flat(gradients).norm().item()
