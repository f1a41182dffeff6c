"""Weights of a finished run, for a run that builds on it."""

from typing import Any

from torch import Tensor, nn

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.errors import ConfigError
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.training import checkpoint
from mmrun.training.stages import expand_stages, outline


def open_config(run: str, key_path: str) -> tuple[RunFolder, RunConfig]:
    """Return the folder and the config of a finished run.

    Args:
        run: its name or folder.
        key_path: the YAML key that names it, for error messages.

    Raises:
        ConfigError: there is no such run, or it is not finished.
    """
    try:
        folder = resolve(run)
    except ConfigError as error:
        raise ConfigError(f"{key_path}: {error}") from None
    if not folder.finished:
        raise ConfigError(f"{key_path}: {folder.path} is not finished; mmrun resume {folder.path}")
    return folder, restore(folder.read_config())


def final_weights(folder: RunFolder, config: RunConfig) -> dict[str, Tensor]:
    """Return the final weights of a run by their names in its model.

    Args:
        folder: of a finished run.
        config: of that run.
    """
    last = expand_stages(config.strategy, config.encoder)[-1]
    _, weights = checkpoint.load(folder.checkpoint_path(last.name, last.config.keep), "model")
    tensors: dict[str, Tensor] = weights
    return tensors


def load_part(module: nn.Module, init: Any, key_path: str) -> None:
    """Load a part of another run into a module.

    Args:
        module: filled in place.
        init: RUN:PART, for example digits-component-s0-1a2b3c4d:encoder.image.
        key_path: the YAML key, for error messages.

    Raises:
        ConfigError: there is no such run or part, or its weights do not fit.
    """
    run, colon, part = str(init).rpartition(":")
    if not colon:
        raise ConfigError(f"{key_path}: '{init}' names no part of a run; write RUN:encoder.image")
    folder, config = open_config(run, key_path)
    weights = final_weights(folder, config)
    prefix = f"{part}."
    part_weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    if not part_weights:
        raise ConfigError(f"{key_path}: {folder.name} has no part '{part}' (it has {outline(weights)})")
    try:
        module.load_state_dict(part_weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{key_path}: the weights of {part} do not fit this encoder: {reason}") from None
