"""Load files that a library names: from its cache or a folder first, then from the hub, failing within seconds."""

import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from mmrun.errors import ConfigError

Loaded = TypeVar("Loaded")
TIMEOUT = 3.0  # seconds to wait for the hub's answer; with the libraries' own retries it would be 47

# What else the user can do where weights cannot be loaded
TIMM_REMEDY = "pass pretrained=false, or pretrained=<a file of weights>"
TRANSFORMERS_REMEDY = "pass model=<a local folder> (with pretrained=false its config.json is enough)"
TOKENIZER_REMEDY = "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one"

CONFIG_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")  # of which models are built

_used: ContextVar[set[str] | None] = ContextVar("used", default=None)
_stored: ContextVar[Path | None] = ContextVar("stored", default=None)


@contextmanager
def recording() -> Iterator[set[str]]:
    """Collect the names of the models that `locate` is asked for, within a `with` block."""
    token = _used.set(set())
    try:
        models = _used.get()
        assert models is not None
        yield models
    finally:
        _used.reset(token)


@contextmanager
def without_weights(folder: Path) -> Iterator[None]:
    """Build models with random weights within a `with` block: theirs are loaded afterwards.

    Args:
        folder: that `store_files` wrote; models that are not in it are looked up as usual.
    """
    token = _stored.set(folder)
    try:
        yield
    finally:
        _stored.reset(token)


def skips_weights() -> bool:
    """Return whether weights are loaded later, so that a pretrained model is built with random ones."""
    return _stored.get() is not None


def locate(model: str) -> str:
    """Return where the config files of a model are looked up: in a run folder that holds them, or under its name.

    Args:
        model: name on the hub, or a local folder.
    """
    used, stored = _used.get(), _stored.get()
    if used is not None:
        used.add(model)
    if stored is None:
        return model
    folder = stored / name_folder(model)
    return str(folder) if folder.is_dir() else model


def store_files(models: Iterable[str], folder: Path) -> None:
    """Copy the config files of models, so that these can be built where neither hub nor local folder is at hand.

    Args:
        models: names on the hub whose files are cached, or local folders.
        folder: gets a folder for each model.
    """
    from huggingface_hub import try_to_load_from_cache

    for model in models:
        target = folder / name_folder(model)
        for name in CONFIG_FILES:
            cached = Path(model, name) if Path(model).is_dir() else try_to_load_from_cache(model, name)
            if isinstance(cached, str | Path) and Path(cached).is_file():
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(cached, target / name)


def name_folder(model: str) -> str:
    """Return a name for the folder of a model that no other one has.

    Args:
        model: name on the hub, or a local folder.
    """
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", model).strip("._-")[-40:]
    return f"{plain or 'model'}-{hashlib.blake2b(model.encode(), digest_size=4).hexdigest()}"


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
