"""Weights of a finished run, for a run that builds on it."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmrun.compose import restore
from mmrun.config import RunConfig
from mmrun.data.fitted import Fit, compare_fits
from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.results.data_records import read_data_record
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.training import checkpoint
from mmrun.training.stages import expand_stages, outline

EXAMPLES = {"encoder": "encoder.image", "fusion": "fusion", "head": "head"}  # parts of a run, by kind


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


def load_initial_weights(model: Multimodal, config: RunConfig, fits: Mapping[str, Fit]) -> list[str]:
    """Load the weights of other runs into a new model: first all parts of the run `init`, then single parts.

    Args:
        model: filled in place, before adapters are inserted.
        config: its `init` keys.
        fits: what this run has fitted to its training rows, by part: encoder.text, task.label.

    Returns:
        Warnings about parts that do not match, and about what differs between the two runs.

    Raises:
        ConfigError: there is no such run or part, its weights do not fit, or they would be misread.
    """
    warnings = [] if config.init is None else _load_matching_parts(model, config.init, fits)
    for modality, node in config.encoder.items():
        if "init" in node:
            key_path = f"encoder.{modality}"
            warnings += _load_part(model.encoder[modality], node["init"], key_path, fits)
    if "init" in config.fusion:
        warnings += _load_part(model.fusion, config.fusion["init"], "fusion", fits)
    if config.head.init is not None:
        warnings += _load_part(model.head, config.head.init, "head", fits)
    return warnings


def _load_part(module: nn.Module, init: object, part: str, fits: Mapping[str, Fit]) -> list[str]:
    """Load a part RUN:PART of another run into a part of this one, and return warnings."""
    key_path, kind = f"{part}.init", part.partition(".")[0]
    run, colon, source = str(init).rpartition(":")
    if not colon:
        raise ConfigError(f"{key_path}: '{init}' names no part of a run; write RUN:{EXAMPLES[kind]}")
    folder, config = open_config(run, key_path)
    weights = final_weights(folder, config)
    part_weights = _select(weights, source)
    if not part_weights:
        raise ConfigError(f"{key_path}: {folder.name} has no part '{source}' (it has {outline(weights)})")
    compared: dict[str, Fit] = {}
    if kind == "encoder":
        compared[".".join(source.split(".")[:2])] = fits[part]
    elif kind == "head":
        compared = {name: fit for name, fit in fits.items() if name.startswith("task.")}
    warnings = check_fits(folder, compared, key_path)
    try:
        module.load_state_dict(part_weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise ConfigError(f"{key_path}: the weights of {source} do not fit this {kind}: {reason}") from None
    return warnings


def _load_matching_parts(model: Multimodal, run: str, fits: Mapping[str, Fit]) -> list[str]:
    """Load every part of another run that has the name and the shapes of one of this model, and return warnings."""
    folder, config = open_config(run, "init")
    weights = final_weights(folder, config)
    parts = _list_parts(model)
    mismatches = {}
    for part, module in parts.items():
        mismatch = _find_mismatch(module.state_dict(), _select(weights, part))
        if mismatch is None and part.startswith(("head", "probe")) and _has_other_classes(folder, fits):
            mismatch = "other classes"
        if mismatch is not None:
            mismatches[part] = mismatch
    matching = [part for part in parts if part not in mismatches]
    if not matching:
        raise ConfigError(f"init: no part of {folder.name} matches one of this model (it has {outline(weights)})")
    warnings = check_fits(folder, {part: fits[part] for part in matching if part in fits}, "init")
    for part in matching:
        parts[part].load_state_dict(_select(weights, part))
    for name in sorted({_part_of(name) for name in weights} - parts.keys()):
        mismatches[name] = "only there"
    if mismatches:
        listed = ", ".join(f"{part} ({mismatch})" for part, mismatch in mismatches.items())
        warnings.append(f"init: {', '.join(matching)} start from {folder.name}, but not {listed}")
    return warnings


def _list_parts(model: Multimodal) -> dict[str, nn.Module]:
    """Return the parts of a model that have weights: encoder.image, fusion, head.label, probe.image ..."""
    parts: dict[str, nn.Module] = {}
    for kind in ("encoder", "fusion", "head", "probe"):
        module = model.get_submodule(kind)
        if kind == "fusion":
            parts[kind] = module
            continue
        parts |= {f"{kind}.{name}": child for name, child in module.named_children()}
    return {part: module for part, module in parts.items() if module.state_dict()}


def _part_of(name: str) -> str:
    """Return the part that a parameter belongs to, as `_list_parts` names it."""
    return "fusion" if name.startswith("fusion.") else ".".join(name.split(".")[:2])


def _select(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of a part by their names in it."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _find_mismatch(target: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str | None:
    """Return how the weights of a part differ from those of another run in names or shapes, or None."""
    if not other:
        return "only here"
    if target.keys() != other.keys():
        return "other parameters"
    return None if all(target[name].shape == other[name].shape for name in target) else "other shapes"


def _has_other_classes(folder: RunFolder, fits: Mapping[str, Fit]) -> bool:
    """Return whether a task of this run has other classes, or another order of them, in another run."""
    record = read_data_record(folder)
    if record is None:
        return False
    tasks = [name for name in fits.keys() & record.fits.keys() if name.startswith("task.")]
    return any(compare_fits(record.fits[name], fits[name]).names for name in tasks)
