"""The YAML files of a group, each composed once: Hydra takes longer for one than most tests."""

import functools

from mmrun import compose


@functools.cache
def load_option(group, name):
    """Return the node of a file; tests change copies of it."""
    return compose.load_option(group, name)
