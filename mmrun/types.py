"""The contracts between the parts. Letters, everywhere in mmrun:

B rows of a batch, T tokens of one modality, D width, C classes or outputs, H x W pixels, S audio samples, F columns.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

KINDS = ("image", "text", "audio", "tabular", "series")  # what a modality can be

IGNORE_INDEX = -100  # the target of a row whose class may not be seen; cross-entropy ignores it. Numbers hide as NaN.

# What an encoder reads, by kind:
#   image    [B, C, H, W] float, 0..1
#   text     {"ids": [B, T] int64, "mask": [B, T] bool, True where a token is real}
#   audio    {"waveform": [B, S] float, -1..1, zero-padded; "length": [B] int64, real samples}
#   tabular  {"numeric": [B, F] float, standardised, 0 where missing; "missing": [B, F] bool;
#             "categorical": [B, K] int64, 0 where missing or never seen in training}
#   series   {"values": [B, C, T] float, standardised, zero-padded; "mask": [B, T] bool}
# The model also takes {"pooled": ...} with the parts of Features that a frozen encoder gave before; encoders do not.
Input = Tensor | dict[str, Tensor]


class Features(NamedTuple):
    """What an encoder gives and a fusion reads."""

    pooled: Tensor  # [B, D]
    tokens: Tensor | None = None  # [B, T, D]
    mask: Tensor | None = None  # [B, T] bool, True where the token is real; None: all are


class Batch(NamedTuple):
    """B rows of a data set, on the device where the model is."""

    inputs: dict[str, Input]  # by modality
    present: dict[str, Tensor]  # by modality, [B] bool; a missing one is filled with zeros, never dropped
    targets: dict[str, Tensor]  # by task: [B] int64 classes, [B, C] float labels, [B] or [B, C] float numbers
    index: Tensor  # type: ignore[assignment]  # [B] int64, row number in the data set


class Encoder(nn.Module):
    """Raw tensors of one modality -> Features. A subclass sets `kind` (one of KINDS) and `dim` (D)."""

    kind: str
    dim: int

    def fit(self, batches: Iterable[Input]) -> None:
        """Learn what no gradient teaches, into buffers, before training: from the training rows that have the modality.

        Most encoders have nothing of the kind, and ask for no batch.
        """


class Fusion(nn.Module):
    """Features of any number of modalities, any subset present per row -> one vector [B, dim].

    A row's result does not depend on what its missing modalities were filled with.
    """

    dim: int

    def head(self, num_outputs: int) -> nn.Module:
        """Return the module [B, dim] -> [B, num_outputs] that reads this fusion; decision-level fusions override it."""
        return nn.Linear(self.dim, num_outputs)


class Task(Protocol):
    """What is to be predicted from the fused vector, for one target column."""

    name: str
    num_outputs: int
    primary_metric: str

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over the rows whose target is not hidden, 0 where all are. output [B, num_outputs]."""
        ...

    def scores(self, output: Tensor) -> Tensor:
        """What predictions are stored as: probabilities, or numbers in the target's own unit. [B, num_outputs]."""
        ...

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Figures of a whole split, by name."""
        ...

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Figures by class name (or output name), then by metric."""
        ...


class Objective(nn.Module):
    """How a batch becomes a loss: forward(model, batch) -> {"loss": scalar, further named parts}.

    An objective owns its own parameters (decoder, projection, teacher).
    """

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients of what `forward` gave to those of the parameters: by default the loss's own.

        `scale` makes a loss fit the micro-batches of a step and the precision. What weighs the gradients of several
        losses against each other overrides this.
        """
        scale(losses["loss"]).backward()


class Preprocessor(Protocol):
    """Makes raw values of one modality into arrays, once: fitted on training rows, then applied to all rows.

    `metadata` are what encoders and objectives may ask for by argument name: `in_channels`, `vocab_size` ...
    """

    metadata: dict[str, Any]

    def fit(self, column: Any, rows: np.ndarray) -> None:
        """Learn from the (training) rows of a data.table.Column what decoding needs: vocabulary, mean and deviation."""
        ...

    def decode(self, value: Any) -> dict[str, np.ndarray]:
        """Return the arrays of one row by part name; a single part named "" becomes a bare tensor in the batch."""
        ...

    def state(self) -> dict[str, Any]:
        """All that decides what `decode` gives, as JSON values: the cache key, and what a run folder keeps."""
        ...
