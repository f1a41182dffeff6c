"""Load files that a library names: from its cache or a folder first, then from the hub, failing within seconds."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mmrun.errors import ConfigError

Loaded = TypeVar("Loaded")
TIMEOUT = 3.0  # seconds to wait for the hub's answer; with the libraries' own retries it would be 47

# What else the user can do where weights cannot be loaded
TIMM_REMEDY = "pass pretrained=false, or pretrained=<a file of weights>"
TRANSFORMERS_REMEDY = "pass model=<a local folder> (with pretrained=false its config.json is enough)"
TOKENIZER_REMEDY = "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one"


def fetch(load: Callable[[bool], Loaded], name: str, remedy: str, what: str = "weights for") -> Loaded:
    """Load from the cache or a folder, and download from the hub only what is in neither.

    Args:
        load: called with `local_only`: True forbids downloads. Raises OSError or ValueError if it cannot load.
        name: of the model, or path of the folder.
        remedy: what the user can do if loading fails; the end of each error message.
        what: names what is loaded; the beginning of the message if the hub cannot be reached.

    Returns:
        The result of `load`.

    Raises:
        ConfigError: the folder is incomplete, the hub cannot be reached, or the hub refuses.
    """
    try:
        return load(True)
    except (OSError, ValueError) as error:
        if Path(name).is_dir():
            raise ConfigError(f"{name}: {summarize_error(error)}; {remedy}") from None
    if not is_hub_reachable():
        raise ConfigError(explain_unreachable(what, name, remedy))
    try:
        return load(False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the hub cannot provide {name} ({summarize_error(error)}); {remedy}") from None


def explain_unreachable(what: str, name: str, remedy: str) -> str:
    """Return the message for files that are not cached where the hub cannot be reached.

    Args:
        what: names what is loaded: "weights for".
        name: of the model.
        remedy: what the user can do.
    """
    return f"{what} {name} are not cached and the hub cannot be reached; {remedy}"


@functools.cache
def is_hub_reachable() -> bool:
    """Return whether the hub answers within TIMEOUT seconds; it is asked once per process.

    Returns:
        False also where HF_HUB_OFFLINE is set, without asking.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception:  # the exception class depends on the library's version; any means that the hub did not answer
        return False
    return True


def summarize_error(error: Exception) -> str:
    """Return the first line of a library's message, which says what is wrong.

    Args:
        error: what the library raised; its message may run over many lines.

    Returns:
        One line without surrounding white space.
    """
    return str(error).strip().partition("\n")[0]
