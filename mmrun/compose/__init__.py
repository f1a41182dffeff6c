"""Composes a checked RunConfig from overrides, and restores the one of a finished run.

Overrides are the arguments of `mmrun train`: `strategy=component`, `encoder.image=resnet18`, `~optimizer.eps`.
"""

from mmrun.compose.composer import AUGMENTATIONS, Composer, expand_sweep, load, load_option
from mmrun.compose.options import list_options, use_config_dirs
from mmrun.compose.rewriting import DEFAULT_ENCODER
from mmrun.compose.stored import as_dict, as_yaml, restore

__all__ = [
    "AUGMENTATIONS",
    "DEFAULT_ENCODER",
    "Composer",
    "as_dict",
    "as_yaml",
    "expand_sweep",
    "list_options",
    "load",
    "load_option",
    "restore",
    "use_config_dirs",
]
