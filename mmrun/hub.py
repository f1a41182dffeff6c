"""What a library loads by name: from the cache or a folder, else from the hub; an answer in words within seconds."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mmrun.errors import ConfigError

Loaded = TypeVar("Loaded")
PATIENCE = 3.0  # seconds that the hub has to answer; the libraries themselves would try for 47


def fetch(load: Callable[[bool], Loaded], name: str, mend: str, what: str = "weights for") -> Loaded:
    """Call load(local_only): from the cache or a folder first, and from the hub only where nothing is there."""
    try:
        return load(True)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise ConfigError(f"{name}: {first_line(error)}; {mend}") from None
    if not reachable():
        raise ConfigError(f"{what} {name} are not cached and the hub cannot be reached; {mend}")
    try:
        return load(False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the hub does not give {name} ({first_line(error)}); {mend}") from None


@functools.cache
def reachable() -> bool:
    """Return whether the hub is reachable; it is asked once per process."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:  # each version of the library has its own; whatever it is, the hub did not answer
        return False
    return True


def first_line(error: Exception) -> str:
    """Return the part of a library's message that says what is wrong."""
    return str(error).strip().partition("\n")[0]
