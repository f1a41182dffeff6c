"""mmrun: should a multimodal model be fine-tuned as one whole, or its components apart and then fused?"""

from importlib import import_module
from typing import TYPE_CHECKING

from mmrun.version import __version__

if TYPE_CHECKING:
    from mmrun.api import Run, compare, load, train

__all__ = ["Run", "__version__", "compare", "load", "train"]


def __getattr__(name: str) -> object:
    """Import `mmrun.api`, and torch with it, when one of its names is first used."""
    if name in __all__:
        return getattr(import_module("mmrun.api"), name)
    raise AttributeError(f"module 'mmrun' has no attribute {name!r}")
