"""Weights of a finished run, for a run that builds on it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.data.fitted import Fit, compare_fits
from mmrun.errors import ConfigError
from mmrun.results.data_records import read_data_record
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


def check_fits(folder: RunFolder, fits: Mapping[str, Fit], key_path: str) -> list[str]:
    """Check that weights of a finished run are used with the vocabulary, categories and statistics of that run.

    Args:
        folder: of the run.
        fits: what this run has fitted to its training rows, by the name of the part in the other run: encoder.text.
        key_path: the YAML key or option that names the run.

    Returns:
        A warning for each part that was fitted with other numbers, such as means; weights can adapt to these.

    Raises:
        ConfigError: words, categories or classes differ, or are numbered differently.
        DamagedError: the record of the run's data is damaged.
    """
    record = read_data_record(folder)
    if record is None or not record.fits:
        return [f"{key_path}: {folder.name} has no record of its vocabulary and statistics, so they are not compared"]
    warnings = []
    for part in sorted(fits.keys() & record.fits.keys()):
        differences = compare_fits(record.fits[part], fits[part])
        if differences.names:
            raise ConfigError(
                f"{key_path}: {part} of {folder.name} was fitted to other training rows ({_join(differences.names)} "
                f"differs), so its weights would be misread; {_explain_mend(differences.names)}"
            )
        if differences.numbers:
            warnings.append(
                f"{key_path}: {part} of {folder.name} was fitted to other training rows ({_join(differences.numbers)} "
                "differs), so its weights see inputs in another scale or size than they were trained on"
            )
    return warnings


def _join(keys: list[str]) -> str:
    return " and ".join(keys)


def _explain_mend(keys: list[str]) -> str:
    same_rows = "train both runs on the same rows"
    return f"{same_rows}, or set one pretrained preprocess.tokenizer in both" if "tokenizer" in keys else same_rows


def load_part(module: nn.Module, init: Any, key_path: str, fit: Fit) -> list[str]:
    """Load a part of another run into an encoder.

    Args:
        module: filled in place.
        init: RUN:PART, for example digits-component-s0-1a2b3c4d:encoder.image.
        key_path: the YAML key, for error messages.
        fit: of the encoder's preprocessor in this run.

    Returns:
        Warnings about what differs between the preprocessors of the two runs.

    Raises:
        ConfigError: there is no such run or part, its weights do not fit, or they would be misread.
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
    encoder = ".".join(part.split(".")[:2])
    warnings = check_fits(folder, {encoder: fit}, key_path)
    try:
        module.load_state_dict(part_weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{key_path}: the weights of {part} do not fit this encoder: {reason}") from None
    return warnings
