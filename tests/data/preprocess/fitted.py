"""Preprocessors fitted on a few values."""

import numpy as np

from mmrun.data.table import Column

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog", None]


def fitted(preprocessor, kind, values):
    preprocessor.fit(Column(kind, values), np.arange(len(values)))
    return preprocessor
