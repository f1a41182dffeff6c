"""Check early that a model from a library can read the data."""

from torch import Tensor, nn, no_grad

from mmrun.errors import ConfigError
from mmrun.hub import summarize_error
from mmrun.types import Features


def encode_example(encoder: nn.Module, x: Tensor | dict[str, Tensor], problem: str) -> Features:
    """Encode one example, so that a model that cannot read the data is rejected before anything trains.

    Args:
        encoder: left in training mode.
        x: one row in the shape of the data.
        problem: the error message if encoding fails; the library's own reason is appended.

    Returns:
        Features of the row, without gradients.

    Raises:
        ConfigError: the encoder cannot read the example.
    """
    encoder.eval()
    try:
        with no_grad():
            features: Features = encoder(x)
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{problem} ({summarize_error(error)})") from None
    encoder.train()
    return features
