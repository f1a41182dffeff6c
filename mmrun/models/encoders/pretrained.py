"""One look at whether the data fit a model from a library."""

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.hub import first_line
from mmrun.types import Features


def try_out(encoder: nn.Module, x: Tensor | dict[str, Tensor], what: str) -> Features:
    """Encode one row, so that what the model cannot read is refused before anything trains."""
    encoder.eval()
    try:
        with torch.no_grad():
            features: Features = encoder(x)
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{what} ({first_line(error)})") from None
    encoder.train()
    return features
