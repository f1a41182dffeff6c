"""Adversarial training: learn from inputs that were perturbed in the direction in which the loss grows."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.continuous import PARTS, get_continuous_parts, perturb
from mmrun.types import Batch, Objective
from mmrun.types import Task as AnyTask
from mmrun.values import Depth, NonNegativeFloat, PositiveFloat, Share


class Adversarial(Objective):
    """The objective `task` on adversarial inputs; all modalities with continuous inputs are attacked at once.

    One full step from the clean input is FGSM (Goodfellow et al., 2015), several smaller ones from a random start are
    PGD (Madry et al., 2018). Words are not perturbed. Attacks leave the running statistics of BatchNorm as they are;
    only the passes that train update them. Validation uses clean inputs.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        epsilon: largest change of a number, by kind; kinds that are left out are not attacked.
        steps: gradient steps of an attack.
        step_size: of one step, as a share of epsilon.
        random_start: start from a uniform perturbation within epsilon.
        weight: of the adversarial loss, 0..1; the clean loss has the remaining weight.

    Raises:
        ConfigError: no modality can be attacked, or an argument is out of range.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        epsilon: Mapping[str, NonNegativeFloat],
        steps: Depth = 1,
        step_size: PositiveFloat = 1.0,
        random_start: bool = False,
        weight: Share = 0.5,
    ) -> None:
        super().__init__()
        self.epsilon: dict[str, float] = {}  # by modality
        for modality, kind in kinds.items():
            if kind in PARTS and kind in epsilon:
                self.epsilon[modality] = epsilon[kind]
        if not self.epsilon:
            raise ConfigError(
                f"objective.epsilon: no modality has a continuous input ({', '.join(kinds)}); "
                "for texts use objective fgm"
            )
        _check(steps, weight)
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.kinds = dict(kinds)
        self.steps, self.step_size, self.random_start, self.weight = steps, step_size, random_start, weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, in training those of the clean inputs (unless `weight` is 1) and the attack's.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            loss, the parts of `task`, loss/adversarial.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        adversarial: dict[str, Tensor] = self.task(model, perturb(batch, self.kinds, self.attack(model, batch)))
        losses = adversarial if self.weight == 1 else self.task(model, batch)
        loss = torch.lerp(losses["loss"], adversarial["loss"], self.weight)
        return {**losses, "loss": loss, "loss/adversarial": adversarial["loss"]}

    def attack(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return perturbations that raise the loss, by modality, shaped as its continuous part.

        Args:
            model: under attack; gets no gradients.
            batch: clean inputs and targets.
        """
        perturbations = {}
        for modality, part in get_continuous_parts(batch, self.kinds).items():
            if modality in self.epsilon:
                perturbations[modality] = torch.zeros_like(part)
        if self.random_start:
            for modality, zeros in perturbations.items():
                epsilon = self.epsilon[modality]
                perturbations[modality] = torch.empty_like(zeros).uniform_(-epsilon, epsilon)
        with keep_batch_statistics(model):
            for _ in range(self.steps):
                perturbations = self._ascend(model, batch, perturbations)
        return perturbations

    def _ascend(self, model: Multimodal, batch: Batch, perturbations: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take one step of the attack along the signs of the gradients."""
        leaves = {modality: perturbation.requires_grad_() for modality, perturbation in perturbations.items()}
        loss = self.task(model, perturb(batch, self.kinds, leaves))["loss"]
        gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        stepped = {}
        for (modality, perturbation), gradient in zip(leaves.items(), gradients, strict=True):
            epsilon = self.epsilon[modality]
            moved = perturbation.detach() + self.step_size * epsilon * gradient.sign()
            stepped[modality] = moved.clamp(-epsilon, epsilon)
        return stepped


class Embedded(Objective):
    """The objective `task` on texts whose word embeddings are perturbed along the gradient of its loss: FGM.

    The perturbation of all embeddings of a row together has length `epsilon` (Miyato et al., 2017; the paper also
    normalises embeddings, which is left out). A text encoder's word embeddings are its largest nn.Embedding. Validation
    uses clean inputs.

    Args:
        task: builds the supervised objective.
        tasks: the tasks by name.
        kinds: kind of each modality.
        model: whose text encoders are attacked.
        epsilon: length of a row's perturbation.
        weight: of the adversarial loss, 0..1; the clean loss has the remaining weight.

    Raises:
        ConfigError: there is no text, an encoder has no word embeddings, or `weight` is out of range.
    """

    def __init__(
        self,
        task: Callable[..., Objective],
        tasks: Mapping[str, AnyTask],
        kinds: Mapping[str, str],
        model: Multimodal,
        epsilon: NonNegativeFloat = 1.0,
        weight: Share = 0.5,
    ) -> None:
        super().__init__()
        self.texts = [modality for modality, kind in kinds.items() if kind == "text"]
        if not self.texts:
            raise ConfigError(f"objective: no modality is text (there are {', '.join(kinds)}); choose pgd or fgsm")
        for modality in self.texts:
            if find_word_embedding(model.encoder[modality]) is None:
                raise ConfigError(
                    f"encoder.{modality}: has no word embeddings that could be perturbed; choose another encoder"
                )
        _check(1, weight)
        self.task = task(tasks=tasks, kinds=kinds)
        self.needs_targets = self.task.needs_targets
        self.epsilon, self.weight = epsilon, weight

    def forward(self, model: Multimodal, batch: Batch) -> dict[str, Tensor]:
        """Return the loss and its parts, in training those of the clean texts and the adversarial loss.

        Args:
            model: to be trained.
            batch: inputs and targets.

        Returns:
            loss, the parts of `task`, loss/adversarial.
        """
        if not self.training:
            losses: dict[str, Tensor] = self.task(model, batch)
            return losses
        zeros: dict[str, Tensor] = {}
        with perturb_embeddings(model, self.texts, zeros):
            losses = self.task(model, batch)
        gradients = torch.autograd.grad(losses["loss"], list(zeros.values()), retain_graph=True, materialize_grads=True)
        perturbations = {}
        for modality, gradient in zip(zeros, gradients, strict=True):
            perturbations[modality] = self.epsilon * normalize_rows(gradient)
        with perturb_embeddings(model, self.texts, perturbations):
            adversarial = self.task(model, batch)["loss"]
        loss = torch.lerp(losses["loss"], adversarial, self.weight)
        return {**losses, "loss": loss, "loss/adversarial": adversarial}


@contextmanager
def keep_batch_statistics(model: nn.Module) -> Iterator[None]:
    """Leave running means and variances as they are while the context is open; training passes still use the batch's.

    Args:
        model: whose normalisation layers may have running statistics.
    """
    norms = [part for part in model.modules() if isinstance(part, _NormBase) and part.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def find_word_embedding(encoder: nn.Module) -> nn.Embedding | None:
    """Return the largest embedding table of an encoder, or None if it has none.

    Args:
        encoder: of texts; its tables of positions and segments are smaller than that of words.
    """
    tables = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    return max(tables, key=lambda table: table.num_embeddings, default=None)


@contextmanager
def perturb_embeddings(model: Multimodal, texts: list[str], perturbations: dict[str, Tensor]) -> Iterator[None]:
    """Add perturbations to the word embeddings while the context is open.

    Args:
        model: whose text encoders are hooked.
        texts: modalities to perturb.
        perturbations: by modality [B, T, D]; a missing one is created as zeros that require a gradient.
    """
    hooks = []
    for modality in texts:
        table = find_word_embedding(model.encoder[modality])
        if table is not None:
            hooks.append(table.register_forward_hook(partial(_add, perturbations, modality)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add(
    perturbations: dict[str, Tensor], modality: str, _: nn.Module, __: tuple[Tensor, ...], embedded: Tensor
) -> Tensor:
    """Forward hook of an embedding table: add the perturbation to its output."""
    if modality not in perturbations:
        perturbations[modality] = torch.zeros_like(embedded, requires_grad=True)
    return embedded + perturbations[modality]


def normalize_rows(x: Tensor) -> Tensor:
    """Scale each row to length 1; a row of zeros stays as it is.

    Args:
        x: [B, ...], whose length is taken over all dimensions but the first.
    """
    length: Tensor = x.flatten(1).norm(dim=1).view(-1, *[1] * (x.dim() - 1))
    return x / length.clamp(min=torch.finfo(x.dtype).tiny)


def _check(steps: int, weight: float) -> None:
    if steps < 1:
        raise ConfigError(f"objective.steps: {steps} is below 1")
    if not 0 <= weight <= 1:
        raise ConfigError(f"objective.weight: {weight} is not between 0 and 1")
