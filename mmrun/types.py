"""The contracts between the parts. Letters, everywhere in mmrun:

B rows of a batch, T tokens of one modality, D width, C classes or outputs, H x W pixels, S audio samples, F columns.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

KINDS = ("image", "text", "audio", "tabular", "series")  # of modalities

IGNORE_INDEX = -100  # target of a row whose class is hidden; cross-entropy ignores it. Hidden numbers are NaN.

# What an encoder reads, by kind:
#   image    [B, C, H, W] float, 0..1
#   text     {"ids": [B, T] int64, "mask": [B, T] bool, True where a token is real}
#   audio    {"waveform": [B, S] float, -1..1, zero-padded; "length": [B] int64, real samples}
#   tabular  {"numeric": [B, F] float, standardised, 0 where missing; "missing": [B, F] bool;
#             "categorical": [B, K] int64, 0 where missing or never seen in training}
#   series   {"values": [B, C, T] float, standardised, zero-padded; "mask": [B, T] bool}
# The model also takes {"pooled": ...}, the parts of Features that a frozen encoder computed before; encoders do not.
Input = Tensor | dict[str, Tensor]


class Features(NamedTuple):
    """What an encoder returns and a fusion reads.

    Attributes:
        pooled: [B, D].
        tokens: [B, T, D], where the encoder has them.
        mask: [B, T] bool, True where the token is real; None: all are.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None


class Batch(NamedTuple):
    """B rows of a data set, on the device of the model.

    Attributes:
        inputs: by modality.
        present: by modality, [B] bool. The input of a missing modality is filled with zeros, its row is not dropped.
        targets: by task: [B] int64 classes, [B, C] float labels, [B] or [B, C] float numbers.
        index: [B] int64, row numbers in the data set.
    """

    inputs: dict[str, Input]
    present: dict[str, Tensor]
    targets: dict[str, Tensor]
    index: Tensor  # type: ignore[assignment]


class Encoder(nn.Module):
    """Base class of encoders: `forward` maps the raw tensors of one modality to `Features`.

    Attributes:
        kind: of the modality, one of KINDS.
        dim: D, the width of its features.
    """

    kind: str
    dim: int

    def fit(self, batches: Iterable[Input]) -> None:
        """Learn what no gradient teaches (components, idf) into buffers, before training. By default there is nothing.

        Args:
            batches: inputs of the training rows that have the modality.
        """


class Fusion(nn.Module):
    """Base class of fusions: `forward(features, present)` maps the features of modalities to one vector, [B, dim].

    `features` holds any subset of the modalities; `present` says by modality which rows have it, [B] bool. What stands
    in for a missing modality must not influence the result.

    Attributes:
        dim: width of the fused vector.
    """

    dim: int

    def head(self, num_outputs: int) -> nn.Module:
        """Return the module [B, dim] -> [B, num_outputs] on the fused vector; decision-level fusions override it."""
        return nn.Linear(self.dim, num_outputs)


class Task(Protocol):
    """What is predicted for one target column.

    Attributes:
        name: of the task.
        num_outputs: width of its outputs.
        primary_metric: the metric that represents it.
    """

    name: str
    num_outputs: int
    primary_metric: str

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss over the rows whose target is visible, or 0 without any.

        Args:
            output: [B, num_outputs].
            target: [B] or [B, C]; hidden ones are IGNORE_INDEX or NaN.
        """
        ...

    def scores(self, output: Tensor) -> Tensor:
        """Return the predictions to store, [B, num_outputs]: probabilities, or numbers in the target's own unit."""
        ...

    def metrics(self, scores: np.ndarray, target: np.ndarray) -> dict[str, float]:
        """Return the metrics of a whole split by name; an undefined one is left out.

        Args:
            scores: [N, num_outputs].
            target: [N] or [N, C].
        """
        ...

    def per_class(self, scores: np.ndarray, target: np.ndarray) -> dict[str, dict[str, float]]:
        """Return metrics by the name of a class or output, then by metric."""
        ...


class Objective(nn.Module):
    """Base class of objectives: `forward(model, batch)` returns {"loss": scalar, "loss/<part>": scalar ...}.

    An objective owns the parameters that it needs beside the model's: decoder, projection, teacher.
    """

    def backward(self, model: nn.Module, losses: dict[str, Tensor], scale: Callable[[Tensor], Tensor]) -> None:
        """Add the gradients of the losses to those of the parameters; by default those of the loss itself.

        Objectives that weigh the gradients of several losses against each other override it.

        Args:
            model: that `forward` got.
            losses: that `forward` returned.
            scale: adapts a loss to the number of micro-batches and to fp16.
        """
        scale(losses["loss"]).backward()


class Preprocessor(Protocol):
    """Decodes the raw values of one modality into arrays, once: fitted on training rows, then applied to all.

    Attributes:
        metadata: arguments that encoders and objectives may ask for by name: `in_channels`, `vocab_size` ...
    """

    metadata: dict[str, Any]

    def fit(self, column: Any, rows: np.ndarray) -> None:
        """Learn what decoding needs: vocabulary, mean and deviation.

        Args:
            column: a `data.table.Column`.
            rows: numbers of the training rows [N].
        """
        ...

    def decode(self, value: Any) -> dict[str, np.ndarray]:
        """Return the arrays of one row by part name; a single part named "" becomes a bare tensor in the batch."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything that decides what `decode` returns, as JSON values: it is part of the cache's key."""
        ...
