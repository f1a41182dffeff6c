"""The contracts between the parts of mmrun.

Letters in shapes, here and elsewhere: B rows of a batch, N rows of a split, T tokens of one modality, D width,
C classes, outputs or channels, H x W pixels, S audio samples, F numeric columns, K categorical columns.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from mmrun.data_types import IGNORE_INDEX as IGNORE_INDEX
from mmrun.data_types import ITEMS as ITEMS
from mmrun.data_types import Preprocessor as Preprocessor
from mmrun.data_types import WordVectors as WordVectors
from mmrun.errors import ConfigError
from mmrun.kinds import KINDS as KINDS

ALL = ""  # in `Batch.weights`, in place of a task or modality: all rows

# The input of an encoder, by the kind of its modality:
#   image    [B, C, H, W] float, 0..1
#   text     {"ids": [B, T] int64, "mask": [B, T] bool, True where a token is real}
#   audio    {"waveform": [B, S] float, -1..1, zero-padded; "length": [B] int64, real samples}
#   tabular  {"numeric": [B, F] float, standardised, 0 where missing; "missing": [B, F] bool;
#             "categorical": [B, K] int64, 0 where not seen in training: unknown}
#   series   {"values": [B, C, T] float, standardised, zero-padded; "mask": [B, T] bool}
#   points   {"points": [B, C, N] float, x, y and z before features, N points, zero-padded; "mask": [B, N] bool}
#   video    [B, T, C, H, W] float, 0..1, of T frames
# Where a row has several items, such as pictures of one patient, each part has an axis M after B, a single tensor is
# called "", and "items" [B, M] bool is True where an item is real; `models.items` folds M into B for an encoder.
# In place of an input the model, but not an encoder, also takes {"pooled": ...}: features computed earlier by a frozen
# encoder.
Input = Tensor | dict[str, Tensor]


class Features(NamedTuple):
    """The output of an encoder and the input of a fusion.

    Attributes:
        pooled: one vector per row, [B, D].
        tokens: one vector per token, [B, T, D]; None if the encoder has no tokens.
        mask: [B, T] bool, True where a token is real; None: all are.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


class UnimodalDecision(NamedTuple):
    """What a decision-level fusion predicts from one modality alone.

    Attributes:
        logits: outputs of the task, [B, C].
        confidence: predicted probability of the true class, or of the true labels on average, [B].
    """

    logits: Tensor
    confidence: Tensor


class Batch(NamedTuple):
    """B rows of a data set, on the device of the model.

    Attributes:
        inputs: by modality.
        present: by modality, which rows have it, [B] bool. The input of a missing modality is zeros.
        targets: by task: classes [B] int64, labels [B, C] float, or numbers [B] or [B, C] float.
        index: row numbers in the data set, [B] int64.
        weights: by task and modality, or ALL: what a mean over the visible targets in the rows of a modality counts in
            the mean over a larger batch, of which this one is a part. Scalars, in proportion to the part's rows: 1
            where the part has as large a share of the visible targets as of the rows. The masks of the objective stand
            beside the tasks. None: this is the whole batch.
    """

    inputs: dict[str, Input]
    present: dict[str, Tensor]
    targets: dict[str, Tensor]
    index: Tensor  # type: ignore[assignment]
    weights: dict[str, dict[str, Tensor]] | None = None

    def weigh(self, mean: Tensor, task: str = ALL, modality: str = ALL) -> Tensor:
        """Weigh a mean over some rows, so that the parts of a larger batch give the mean over all its rows.

        The mean of a micro-batch without any such row must be 0.

        Args:
            mean: over the visible targets of `task` (ALL: over rows) where `modality` is present (ALL: everywhere).
            task: by name; or the name of a mask of the objective.
            modality: by name.

        Raises:
            ConfigError: there is no such task, mask or modality.
        """
        if self.weights is None:
            return mean
        for name, names in ((task, self.weights), (modality, self.weights[ALL])):
            if name not in names:
                raise ConfigError(f"Batch.weigh: '{name}' is no task, mask or modality of the stage")
        return mean * self.weights[task][modality]


class Encoder(nn.Module):
    """Base class of encoders: `forward` maps the raw tensors of one modality to `Features`.

    Attributes:
        kind: of the modality, one of KINDS.
        dim: D, the width of its features.
    """

    kind: str
    dim: int

    @property
    def ignores_padding(self) -> bool:
        """Whether features do not depend on how far the rows are padded, so that batches may be cropped.

        True for texts and series. Of sounds, most encoders read the silence after the end: overridden by the others.
        """
        return self.kind in ("text", "series")

    def fit(self, batches: Iterable[Input]) -> None:
        """Fit buffers that are not trained by gradient descent (principal components, idf), before training.

        By default there is nothing to fit.

        Args:
            batches: inputs of the training rows that have the modality.
        """

    def encode_layers(self, x: Input) -> list[Tensor]:
        """Return the tokens after each block, for objectives that learn from hidden layers (data2vec).

        By default those that `forward` returns are all there is. An encoder of several blocks overrides it.

        Args:
            x: the input of `forward`.

        Returns:
            [B, T, D] of each block, the last one last, with the T of `forward`; empty if the encoder has no tokens.
        """
        features: Features = self(x)
        return [] if features.tokens is None else [features.tokens]


class Augmentation(nn.Module):
    """Base class of augmentations: `forward(x)` changes the input of one modality at random, in supervised training.

    The result has the shapes and types of `x`, which is not changed itself. Padding stays padding. All random numbers
    come from torch's generator of the device, whose state a checkpoint holds; no step waits for the device. What stands
    in rows without the modality is restored afterwards.

    Attributes:
        kind: of the modality, one of KINDS.
    """

    kind: str


class Fusion(nn.Module):
    """Base class of fusions: `forward(features, present)` maps the features of the modalities to one vector, [B, dim].

    `features` holds any subset of the modalities, and `present`, by modality, which rows have it, [B] bool. The
    placeholder of a missing modality must not influence the result.

    Attributes:
        dim: width of the fused vector.
        needs_classes: whether it fuses logits of classes or labels, so that no task may be a regression.
    """

    dim: int
    needs_classes = False

    def head(self, num_outputs: int) -> nn.Module:
        """Build the head on the fused vector. Decision-level fusions override it.

        Args:
            num_outputs: width of the outputs.

        Returns:
            A module [B, dim] -> [B, num_outputs]; by default a linear layer.
        """
        return nn.Linear(self.dim, num_outputs)

    def decide_alone(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, UnimodalDecision]:
        """Return what each modality decides alone, for objectives to teach; by default nothing.

        A fusion overrides it whose parts cannot learn from the fused vector: each classifier learns the task, and each
        confidence how probable its classifier finds the truth.

        Args:
            features: by modality.
            present: by modality, [B] bool.

        Returns:
            Decisions by modality.
        """
        return {}

    def auxiliary_losses(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return losses that the fusion adds to those of the tasks, for parts that these do not teach; by default none.

        Args:
            features: by modality.
            present: by modality, [B] bool.

        Returns:
            By modality, each the mean over the rows that have it, 0 where there is none.
        """
        return {}


class Task(Protocol):
    """What the model predicts for one target column.

    Attributes:
        name: of the task.
        num_outputs: width of its outputs.
        primary_metric: name of the metric that represents it.
    """

    name: str
    num_outputs: int
    primary_metric: str

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss over the rows whose target is visible; 0 if all are hidden.

        Args:
            output: [B, num_outputs].
            target: [B] or [B, C]; hidden ones are IGNORE_INDEX or NaN.
        """
        ...

    def scores(self, output: Tensor) -> Tensor:
        """Return the predictions to store.

        Args:
            output: [B, num_outputs].

        Returns:
            Probabilities, or numbers in the unit of the target, [B, num_outputs].
        """
        ...

    def quick_metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return those of `metrics` that take little time, for the evaluations during training.

        Args:
            scores: [N, num_outputs].
            target: [N] or [N, C].
        """
        ...

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return all metrics of a split by name, without those that are undefined.

        Args:
            scores: [N, num_outputs].
            target: [N] or [N, C].
        """
        ...

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return the metrics of each class or output.

        Args:
            scores: [N, num_outputs].
            target: [N] or [N, C].

        Returns:
            By the name of the class or output, then by metric.
        """
        ...


class Objective(nn.Module):
    """Base class of objectives: `forward(model, batch)` returns {"loss": scalar, "loss/<part>": scalar ...}.

    An objective owns the parameters that it needs besides those of the model: a decoder, projection or teacher.

    A batch may be a micro-batch: a part of what one optimiser step learns from. A mean over all rows needs no care; one
    over some of them is passed through `Batch.weigh`. What moves with time (a teacher, a ramp, a queue) moves in
    `on_step_start` and `on_step_end`, not in `forward`. What `forward` collects for them is a `StepState`.

    Attributes:
        needs_targets: whether it learns nothing from a row whose targets are hidden.
        returns_task_losses: whether `loss` is computed from a loss/<task> for each task, so that a balance can separate
            their gradients.
    """

    needs_targets: bool = False
    returns_task_losses: bool = False

    def prepare(self, batch: Batch) -> Batch:
        """Change which targets are visible or which modalities are present, in training; by default nothing.

        It is called for each micro-batch before the visible targets of the whole batch are counted, here and in all
        objectives inside this one. Where `Batch.weights` is None it was not called, and `forward` has to.

        Args:
            batch: is not changed itself.
        """
        return batch

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """Return other rows than those with a target or a modality that a mean is over; by default none.

        Args:
            batch: prepared. It has no inputs where all rows of a split are counted.

        Returns:
            By a name that is no task's, [B] bool.
        """
        return {}

    def on_step_start(self, progress: float) -> None:
        """Follow a schedule; called before each optimiser step, here and in all objectives inside this one.

        By default there is no schedule.

        Args:
            progress: share of the stage's budget that is spent, 0..1.
        """

    def on_step_end(self, model: nn.Module) -> None:
        """Update what moves with time; called after each optimiser step, here and in all objectives inside this one.

        By default nothing moves.

        Args:
            model: the argument of `forward`.
        """

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add gradients to those of the parameters; by default the gradients of `losses["loss"]`.

        Objectives that weigh the gradients of several losses against each other override it.

        Args:
            model: the argument of `forward`.
            losses: the result of `forward`.
            scale: scales a loss for gradient accumulation and fp16.
        """
        scale(losses["loss"]).backward()
