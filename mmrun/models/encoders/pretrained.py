"""Check early that a model from a library can read the data."""

import torch
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


def encode_example_text(encoder: nn.Module, model: str, max_tokens: int, vocab_size: int) -> Features:
    """Encode the longest text of the last word; see `encode_example`.

    Args:
        encoder: left in training mode.
        model: its name, for the message.
        max_tokens: T, of the data.
        vocab_size: of the data.

    Raises:
        ConfigError: the encoder cannot read such a text.
    """
    ids = torch.full((1, max_tokens), vocab_size - 1)
    remedy = f"pass preprocess.tokenizer={model}, or fewer max_tokens"
    problem = f"{model} cannot read {max_tokens} tokens of {vocab_size}; {remedy}"
    return encode_example(encoder, {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, problem)
