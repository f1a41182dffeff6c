"""Learn from inputs that were moved to where the model is most wrong."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.continuous import PARTS, movable, moved
from mmrun.types import Batch, Objective
from mmrun.types import Task as AnyTask


class Adversarial(Objective):
    """The objective `task` on inputs moved, all at once, in the direction in which its loss grows.

    One full step from where they are is FGSM (Goodfellow et al., 2015), several smaller ones from a random start PGD
    (Madry et al., 2018). No number moves further than `epsilon` of its kind; words stay. The moved rows count `weight`,
    the rows as they are the rest, which alone are what validation sees.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        epsilon: Mapping[str, float],
        steps: int = 1,
        step_size: float = 1.0,
        random_start: bool = False,
        weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.reach = {modality: epsilon[kind] for modality, kind in kinds.items() if kind in PARTS and kind in epsilon}
        if not self.reach:
            raise ConfigError(
                f"objective.epsilon: no modality has a continuous input ({', '.join(kinds)}); "
                "for texts use objective fgm"
            )
        _check(steps, weight)
        self.task = task(tasks=tasks, kinds=kinds)
        self.kinds = dict(kinds)
        self.steps, self.step_size, self.random_start, self.weight = steps, step_size, random_start, weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts: those of the rows as they are, where they count, and loss/adversarial."""
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        worse: dict[str, Tensor] = self.task(model, moved(batch, self.kinds, self.attack(model, batch)))
        losses = worse if self.weight == 1 else self.task(model, batch)
        loss = torch.lerp(losses["loss"], worse["loss"], self.weight)
        return {**losses, "loss": loss, "loss/adversarial": worse["loss"]}

    def attack(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Find moves that raise the loss, by modality."""
        moves = {m: torch.zeros_like(x) for m, x in movable(batch, self.kinds).items() if m in self.reach}
        if self.random_start:
            moves = {m: torch.empty_like(x).uniform_(-self.reach[m], self.reach[m]) for m, x in moves.items()}
        for _ in range(self.steps):
            moves = {m: x.requires_grad_() for m, x in moves.items()}
            loss = self.task(model, moved(batch, self.kinds, moves))["loss"]
            slopes = torch.autograd.grad(loss, list(moves.values()), materialize_grads=True)
            for (m, x), slope in zip(list(moves.items()), slopes, strict=True):
                reach = self.reach[m]
                moves[m] = (x.detach() + self.step_size * reach * slope.sign()).clamp(-reach, reach)
        return moves


class Embedded(Objective):
    """The objective `task` on texts whose embedded words are moved in the direction in which its loss grows: FGM.

    Of each row, all embeddings together move by `epsilon`, along the slope (Miyato et al., 2017; the paper also scales
    embeddings to one size, which is left out). A text encoder's embeddings are those of its largest nn.Embedding.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        epsilon: float = 1.0,
        weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.texts = [modality for modality, kind in kinds.items() if kind == "text"]
        if not self.texts:
            raise ConfigError(f"objective: no modality is text (there are {', '.join(kinds)}); choose pgd or fgsm")
        for modality in self.texts:
            if embedding_of(model.encoder[modality]) is None:
                raise ConfigError(f"encoder.{modality}: embeds no words, so that none can be moved; choose another")
        _check(1, weight)
        self.task = task(tasks=tasks, kinds=kinds)
        self.epsilon, self.weight = epsilon, weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, those of the texts as they are and loss/adversarial."""
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        moves: dict[str, Tensor] = {}
        with added(model, self.texts, moves):
            losses = self.task(model, batch)
        slopes = torch.autograd.grad(losses["loss"], list(moves.values()), retain_graph=True, materialize_grads=True)
        further = {m: self.epsilon * unit(slope) for m, slope in zip(moves, slopes, strict=True)}
        with added(model, self.texts, further):
            worse = self.task(model, batch)["loss"]
        return {**losses, "loss": torch.lerp(losses["loss"], worse, self.weight), "loss/adversarial": worse}


def embedding_of(encoder: nn.Module) -> nn.Embedding | None:
    """Find where an encoder embeds words: positions and segments have smaller tables."""
    tables = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    return max(tables, key=lambda table: table.num_embeddings, default=None)


@contextmanager
def added(model: Multimodal, texts: list[str], moves: dict[str, Tensor]) -> Iterator[None]:
    """Add moves to embedded words meanwhile; where there is none yet, one of zero, whose slope can be asked for."""
    tables = {modality: embedding_of(model.encoder[modality]) for modality in texts}
    hooks = [
        table.register_forward_hook(partial(_add, moves, modality))
        for modality, table in tables.items()
        if table is not None
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add(moves: dict[str, Tensor], modality: str, _: nn.Module, __: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
    if modality not in moves:
        moves[modality] = torch.zeros_like(embedded, requires_grad=True)
    return embedded + moves[modality]


def unit(slope: Tensor) -> Tensor:  # [B, T, D] -> [B, T, D]
    """Bring each row to length 1; one that is zero stays so."""
    length = slope.flatten(1).norm(dim=1).view(-1, *[1] * (slope.dim() - 1))
    return slope / length.clamp(min=torch.finfo(slope.dtype).tiny)


def _check(steps: int, weight: float) -> None:
    if steps < 1:
        raise ConfigError(f"objective.steps: {steps} is not a number of steps above 0")
    if not 0 <= weight <= 1:
        raise ConfigError(f"objective.weight: {weight} is not between 0 and 1")
