"""Names of version 0.1.0: an old override is an error that names the new key; an old run folder is translated."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmrun.config import RunConfig
from mmrun.errors import ConfigError

Values = Mapping[str, Any]  # of JSON or YAML

VERSION = "0.2.0"  # in which they were renamed

# Old key -> new key, by the path of the node that has the key; * stands for a name that the user chose.
KEYS = {
    "strategy.stages.*": {
        "clip": "max_grad_norm",
        "accumulate": "grad_accum_steps",
        "average": "ema_decay",
        "top": "unfreeze_top",
    },
    "strategy.stages.*.objective": {"unimodal": "unimodal_weight", "balanced": "class_balanced", "rate": "drop_prob"},
    "strategy.stages.*.objective.task": {"unimodal": "unimodal_weight", "balanced": "class_balanced"},
    "balance": {"unimodal": "unimodal_weight"},
    "strategy.adapt": {"others": "fallback"},
    "encoder.*": {"prepare": "preprocess", "checkpoint": "grad_checkpointing"},
    "trainer": {
        "features": "cache_features",
        "bucket": "group_by_length",
        "shard": "fsdp",
        "diagnose": "log_modality_gradients",
    },
    "sweep": {"prune": "reduction_factor", "at_once": "parallel_trials", "per": "group_by"},
}

REMOVED = {  # key -> its replacement; * stands for a name that the user chose
    "trainer.trackers": "callbacks=tensorboard (or wandb, mlflow)",
    "encoder.*.preprocess.layout": "dataset.layout.NAME=time_first or channels_first",
}

VALUES = {("strategy.stages.*", "monitor", "headline"): "primary_metric"}

# Keys of fusions that older runs do not have: the value with which their weights still fit, by the start of `_target_`.
ADDED_TO_FUSION = {"mmrun.models.fusions.attention.": {"positions": "none"}}

# Keys of encoders that older runs do not have: the values with which their weights still fit, by `_target_`.
ADDED_TO_ENCODERS: dict[str, dict[str, object]] = {
    "mmrun.models.encoders.tabular.Mlp": {"norm": True, "shortcut": False},
}

# What these classes compute was corrected after version 0.1.0, whose weights they load: how, by `_target_`.
CORRECTED = {
    "mmrun.models.encoders.series.Tcn": "each level ends in a ReLU after the residual sum",
    "mmrun.models.fusions.gated.Gated": "of three or more modalities, each has a sigmoid gate of its own",
}
UNCHANGED_BELOW = {"mmrun.models.fusions.gated.Gated": 3}  # modalities, where fewer give the same results

MANIFEST = "mmrun.data.sources.manifest.manifest"  # the source that has a layout of series
LAYOUTS = {"channels_last": "time_first"}  # of series, by their old names

MODULES = {"mmrun.data.prepare.": "mmrun.data.preprocess."}  # in `_target_`

FLAGS = {"--again": "--rerun", "--ceilings": "--unimodal-runs", "--across": "--curve-over", "--over": "--rank-over"}

METRICS_KEYS = {  # of metrics.json
    "headline": "primary_head",
    "learned_parameters": "trainable_parameters",
    "accumulate": "grad_accum_steps",
}


def check_flags(arguments: Sequence[str]) -> None:
    """Raise an error that names the new flag if a command line uses an old one.

    Args:
        arguments: the command line.

    Raises:
        ConfigError: a flag was renamed.
    """
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag in FLAGS:
            raise ConfigError(f"{flag}: renamed in version {VERSION}; use {FLAGS[flag]}")


def check_override(override: str) -> None:
    """Raise an error that names the new key if an override uses an old one.

    Args:
        override: for example trainer.bucket=true.

    Raises:
        ConfigError: the key was renamed or removed.
    """
    path = override.partition("=")[0].lstrip("+~")
    keys = path.replace("/", ".").split(".")
    for removed, replacement in REMOVED.items():
        if _matches(keys, removed):
            raise ConfigError(f"{path}: removed; use {replacement}")
    for length in range(1, len(keys)):
        new = _find_renames(keys[:length]).get(keys[length])
        if new is not None:
            new_path = ".".join([*keys[:length], new, *keys[length + 1 :]])
            raise ConfigError(f"{path}: renamed in version {VERSION}; use {new_path}")
    value = override.partition("=")[2]
    for (owner, key, old), new in VALUES.items():
        if keys[-1] == key and value == old and _matches(keys[:-1], owner):
            raise ConfigError(f"{path}={old}: renamed in version {VERSION}; use {path}={new}")


def translate_config(values: Values) -> dict[str, Any]:
    """Replace old names in the config of a run folder, and add the keys that it does not have yet.

    Args:
        values: a config of any version.

    Returns:
        A new mapping with current names.
    """
    translated: dict[str, Any] = _translate_node(values, [])
    for modality, node in translated.get("encoder", {}).items():
        added_keys = ADDED_TO_ENCODERS.get(str(node.get("_target_")), {})
        translated["encoder"][modality] = {**added_keys, **node}
    fusion = translated.get("fusion")
    for target, added in ADDED_TO_FUSION.items():
        if isinstance(fusion, Mapping) and str(fusion.get("_target_")).startswith(target):
            translated["fusion"] = {**added, **fusion}
    _move_layouts(translated)
    trainer = translated.get("trainer")
    if isinstance(trainer, dict):
        trainer.pop("trackers", None)  # they do not change the result
    for stage in translated.get("strategy", {}).get("stages", {}).values():
        if stage.get("layer_decay") is not None and "prepare" in str(values.get("encoder")):
            stage["layer_decay"] = None  # it had another meaning, and the weights are already trained
    return translated


def _move_layouts(config: dict[str, Any]) -> None:
    """Move the layout of series from their encoders to the data set."""
    for modality, node in (config.get("encoder") or {}).items():
        old = node["preprocess"].pop("layout", None) if isinstance(node.get("preprocess"), dict) else None
        if old is not None and config["dataset"].get("_target_") == MANIFEST:
            layouts = config["dataset"].get("layout") or {}
            config["dataset"]["layout"] = {**layouts, modality: LAYOUTS.get(old, old)}


def _translate_node(node: Values, path: list[str]) -> dict[str, object]:
    renames = _find_renames(path)
    translated = {}
    for key, value in node.items():
        translated[renames.get(key, key)] = _translate_value(value, [*path, key])
    return translated


def _translate_value(value: object, path: list[str]) -> object:
    if isinstance(value, Mapping):
        return _translate_node(value, path)
    return _translate_string(value, path) if isinstance(value, str) else value


def _translate_string(value: str, path: list[str]) -> str:
    if path[-1] == "_target_":
        for old, new in MODULES.items():
            if value.startswith(old):
                return new + value.removeprefix(old)
    for (owner, key, old), new in VALUES.items():
        if path[-1] == key and value == old and _matches(path[:-1], owner):
            return new
    return value


def list_corrections(config: RunConfig, version: str | None) -> list[str]:
    """Describe in a line each what a model computes differently since the version that trained it.

    Args:
        config: of a run.
        version: of mmrun that started it; None: unknown, as in a run that has not started.

    Returns:
        Lines for the user; none for a run of this version.
    """
    if version != "0.1.0":
        return []
    nodes = {"fusion": config.fusion, **{f"encoder.{name}": node for name, node in config.encoder.items()}}
    lines = []
    for key_path, node in nodes.items():
        target = str(node["_target_"])
        if target in CORRECTED and len(config.encoder) >= UNCHANGED_BELOW.get(target, 1):
            name = target.rpartition(".")[2]
            lines.append(
                f"{key_path}: {name} was corrected in version {VERSION} ({CORRECTED[target]}), but its weights were "
                f"trained by version {version}: results differ from those recorded; train the run again with --rerun"
            )
    return lines


def translate_metrics(values: Values) -> dict[str, Any]:
    """Replace old names in the contents of a metrics.json.

    Args:
        values: contents of any version.

    Returns:
        A new mapping with current names.
    """
    if "headline" not in values:
        return dict(values)
    translated = {METRICS_KEYS.get(key, key): value for key, value in values.items()}
    translated["schema"] = 2
    cost = dict(values["cost"])
    stages = {name: _rename_keys(stage) for name, stage in cost["stages"].items()}
    translated["cost"] = {**_rename_keys(cost), "stages": stages}
    translated["config"] = translate_config(values["config"])
    return translated


def translate_train_state(values: Mapping[str, object]) -> dict[str, object]:
    """Replace the old names in the train state of a checkpoint.

    Args:
        values: the train state of version 0.1.0.

    Returns:
        A new mapping with current names.
    """
    state = {key: value for key, value in values.items() if key not in ("accumulate", "tally")}
    return {**state, "grad_accum_steps": values["accumulate"], "losses": values["tally"]}


def _rename_keys(cost: Mapping[str, object]) -> dict[str, object]:
    return {METRICS_KEYS.get(key, key): value for key, value in cost.items()}


def _find_renames(path: Sequence[str]) -> dict[str, str]:
    for owner, renames in KEYS.items():
        if _matches(path, owner):
            return renames
    return {}


def _matches(path: Sequence[str], owner: str) -> bool:
    pattern = owner.split(".")
    return len(path) == len(pattern) and all(p in ("*", key) for p, key in zip(pattern, path, strict=True))
