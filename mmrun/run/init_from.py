"""What a finished run has learned, for a run that builds on it."""

from typing import Any

from torch import Tensor, nn

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.errors import ConfigError
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.training import checkpoint
from mmrun.training.stages import expand_stages, outline


def config_of(run: str, key_path: str) -> tuple[RunFolder, RunConfig]:
    """Find a finished run by its name or folder, and read its config; `where` is the YAML key that names it."""
    try:
        folder = resolve(run)
    except ConfigError as error:
        raise ConfigError(f"{key_path}: {error}") from None
    if not folder.finished:
        raise ConfigError(f"{key_path}: {folder.path} is not finished; mmrun resume {folder.path}")
    return folder, restore(folder.config())


def weights(folder: RunFolder, config: RunConfig) -> dict[str, Tensor]:
    """Give the weights with which a run ended, by the names they have in its model."""
    last = expand_stages(config.strategy, config.encoder)[-1]
    _, found = checkpoint.load(folder.checkpoint(last.name, last.config.keep), "model")
    tensors: dict[str, Tensor] = found
    return tensors


def fill(module: nn.Module, init: Any, key_path: str) -> None:
    """Start a module from a part of another run: `init` is RUN:PART, digits-component-s0-1a2b3c4d:encoder.image."""
    run, colon, part = str(init).rpartition(":")
    if not colon:
        raise ConfigError(f"{key_path}: '{init}' names no part of a run; write RUN:encoder.image")
    folder, config = config_of(run, key_path)
    found = weights(folder, config)
    own = {name.removeprefix(f"{part}."): tensor for name, tensor in found.items() if name.startswith(f"{part}.")}
    if not own:
        raise ConfigError(f"{key_path}: {folder.name} has no part '{part}' (it has {outline(found)})")
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{key_path}: the weights of {part} do not fit this encoder: {reason}") from None
