"""The options about 8 bits, of `mmrun export` and `mmrun compress`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmrun.cli.arguments import format_flag
from mmrun.errors import ConfigError

if TYPE_CHECKING:
    from mmrun.models.compress.int8 import Quantization

DEFAULT_MAX_DROP = 0.01
HOW = ("quantize_mode", "quantize_scheme", "quantize_granularity")


def add_quantization(group: argparse._ArgumentGroup) -> None:
    """Declare whether layers compute in 8 bits, and how."""
    group.add_argument("--quantize", choices=["int8"], help="compute layers with weights in 8 bits")
    group.add_argument(
        "--quantize-mode",
        choices=["static", "dynamic"],
        help="read the ranges of activations from training rows, once, or from each batch (default: static)",
    )
    group.add_argument(
        "--quantize-scheme",
        choices=["asymmetric", "symmetric"],
        help="ranges of activations: as they are, or around 0; of weights in an ONNX file in dynamic mode (default: "
        "asymmetric)",
    )
    group.add_argument(
        "--quantize-granularity",
        choices=["channel", "tensor"],
        help="a scale for each output channel of a weight, or one for each weight (default: channel)",
    )


def build_quantization(args: argparse.Namespace, others: Sequence[str] = ()) -> "Quantization | None":
    """Return how layers are quantized; None: they are not.

    Args:
        args: of the verb.
        others: names of further arguments that belong to `--quantize`.

    Raises:
        ConfigError: one of these options stands without `--quantize`.
    """
    if args.quantize is None:
        given_flags = [format_flag(name) for name in (*HOW, *others) if getattr(args, name) is not None]
        if given_flags:
            raise ConfigError(f"{given_flags[0]}: belongs to --quantize int8; add it, or drop this")
        return None

    from mmrun.models.compress.int8 import Quantization

    return Quantization(
        mode=args.quantize_mode or "static",
        scheme=args.quantize_scheme or "asymmetric",
        granularity=args.quantize_granularity or "channel",
    )
