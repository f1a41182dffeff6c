"""A few training rows as the encoders read them, and as augmentation changes them."""

from dataclasses import dataclass

import numpy as np
import torch

from mmrun.config import RunConfig
from mmrun.data.loader import Loader
from mmrun.data.store import open_lazily
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.run.build import select_augmentation
from mmrun.run.data import Data, open_data
from mmrun.seeding import seeded_generator
from mmrun.types import Batch


@dataclass(frozen=True)
class Preview:
    """Rows before and after augmentation.

    Attributes:
        data: that they are from.
        original: the rows.
        augmented: the same rows; modalities without an augmentation hold the same input.
    """

    data: Data
    original: Batch
    augmented: Batch


def preview_rows(config: RunConfig, num_rows: int) -> Preview:
    """Read rows at even distances among the training rows, and augment them.

    Args:
        config: its data, encoders' preprocessing, augmentation and seed.
        num_rows: at most; fewer if there are not as many.

    Raises:
        ConfigError, DataError: the data cannot be used, or an augmentation does not fit them.
    """
    data = open_data(config)
    columns = {}
    for modality, preprocessor in data.preprocessors.items():
        columns[modality] = open_lazily(data.table.columns[modality], preprocessor)
    train = data.rows["all"]
    rows = train[np.unique(np.linspace(0, len(train) - 1, min(num_rows, len(train))).astype(np.int64))]
    original = next(Loader(columns, {}, rows, len(rows)).ordered())
    if config.augment is None:
        return Preview(data, original, original)
    node = select_augmentation(config.augment, data.kinds)
    if node is None:
        names = ", ".join(f"{modality} ({kind})" for modality, kind in data.kinds.items())
        raise ConfigError(f"augment: the run reads no kind that it augments ({names}); drop augment")
    augmentation = instantiate(node, "augment", {"kinds": data.kinds, "metadata": data.metadata})
    with seeded_generator(config.seed, "preview"), torch.no_grad():
        return Preview(data, original, augmentation(original))
