"""The contracts of data that need no torch, whose import takes seconds and 500 MB: `mmrun data check` does without.

`mmrun.types` has them as well.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np

ITEMS = "items"  # name of the mask of a row's items
Arrays = dict[str, np.ndarray]  # parts of a row by name, as a preprocessor returns them; or of several rows
IGNORE_INDEX = -100  # target of a row whose class is hidden, ignored by cross-entropy; a hidden number is NaN


class WordVectors(NamedTuple):
    """Pretrained vectors of the words of a vocabulary, offered to encoders of text as `word_vectors`.

    Attributes:
        dim: E.
        matrix: [V, E] float32, NaN in the rows of tokens without a vector; None where a finished run is opened, whose
            weights are loaded afterwards.
    """

    dim: int
    matrix: np.ndarray | None


class Preprocessor(Protocol):
    """Decodes the raw values of one modality into arrays, once. It is fitted on training rows and applied to all rows.

    It may have an attribute `notes`, a list of lines that `fit` writes: what was chosen from the rows, and what of them
    is cut or changed. A run prints them when it starts, and so does `mmrun data check`.

    Attributes:
        metadata: optional arguments of encoders and objectives, passed by name: `in_channels`, `vocab_size` ...
    """

    metadata: dict[str, Any]

    def fit(self, column: Any, rows: np.ndarray) -> None:
        """Fit what decoding needs: vocabulary, mean, standard deviation.

        Args:
            column: a `data.table.Column`.
            rows: numbers of the training rows, [N].
        """
        ...

    def decode(self, value: Any) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: the raw value, as the source returned it.

        Returns:
            Arrays by the name of the part; a single part named "" becomes a plain tensor in the batch.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return all that determines the result of `decode`, for the key of the cache and to predict new rows.

        Returns:
            JSON values by name.
        """
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state in place of `fit`.

        Args:
            state: of another object with the same arguments, after JSON.
        """
        ...
