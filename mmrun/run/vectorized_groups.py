"""Which runs of a sweep train together: those that differ in nothing but seeds and numbers of the optimizer."""

import json
import os
from collections.abc import Sequence
from typing import Any

import torch

from mmrun.compose import as_dict
from mmrun.config import WITHOUT_EFFECT, RunConfig
from mmrun.training import device

# Keys of a stage that each run follows on its own, whatever the others do
OF_EACH_RUN = (
    "ema_decay",
    "interpolate",
    "keep",
    "layer_decay",
    "lr",
    "lr_scale",
    "max_grad_norm",
    "monitor",
    "patience",
    "schedule",
    "stopping_threshold",
    "warmup",
)
MAX_NAMED = 3  # keys in a message


def group_runs(configs: Sequence[RunConfig]) -> tuple[list[list[int]], list[str]]:
    """Group runs that train together, where `trainer.vectorize` asks for it.

    Args:
        configs: of the runs.

    Returns:
        Positions of the runs of each group, and messages: why some train apart.
    """
    groups: dict[str, list[int]] = {}
    messages: dict[str, None] = {}
    for position, config in enumerate(configs):
        obstacle = find_obstacle(config) if config.trainer.vectorize else None
        if obstacle is not None:
            messages[f"trainer.vectorize: runs train one after another: {obstacle}"] = None
        is_alone = obstacle is not None or not config.trainer.vectorize
        groups.setdefault(str(position) if is_alone else _shared_config(config), []).append(position)
    shared = {key: positions for key, positions in groups.items() if key.startswith("{")}
    if len(shared) > 1:
        keys = _differing_keys([json.loads(key) for key in shared])
        messages[f"trainer.vectorize: {len(shared)} groups of runs, which differ in {keys}"] = None
    return list(groups.values()), list(messages)


def find_obstacle(config: RunConfig) -> str | None:
    """Return why a run cannot train together with others; None: nothing in its config forbids it.

    Args:
        config: of the run.
    """
    trainer = config.trainer
    place = torch.accelerator.current_accelerator() if trainer.device == "auto" else None
    is_compiled = device.is_enabled(trainer.compile, place or torch.device("cpu"))
    obstacles = {
        "budget.seconds: each run would need a clock of its own": config.budget.seconds is not None,
        "trainer.batch_size=auto measures a single run": trainer.batch_size == "auto",
        f"trainer.on_nan={trainer.on_nan} takes back steps of a single run": trainer.on_nan != "stop",
        "trainer.precision=fp16 scales the loss of a single run": trainer.precision == "fp16",
        "trainer.compile compiles a single run": is_compiled,
        "trainer.offload_activations": trainer.offload_activations,
        "trainer.profile measures the steps of a single run": trainer.profile,
        "several processes train one run": int(os.environ.get("WORLD_SIZE", "1")) > 1,
        "grad_accum_steps splits the batch of a single run": any(
            stage.grad_accum_steps > 1 for stage in config.strategy.stages.values()
        ),
    }
    return next((obstacle for obstacle, applies in obstacles.items() if applies), None)


def _shared_config(config: RunConfig) -> str:
    """Return what the runs of a group have in common, as JSON."""
    values: dict[str, Any] = dict(as_dict(config))
    for key in WITHOUT_EFFECT:
        if key != "cache":
            del values[key]
    values["seed"] = None
    values["optimizer"] = _class_of(values["optimizer"])
    values["encoder_lr"] = sorted(values["encoder_lr"] or [])
    stages = {}
    for name, stage in values["strategy"]["stages"].items():
        shared = {key: value for key, value in stage.items() if key not in OF_EACH_RUN}
        stages[name] = {**shared, "optimizer": _class_of(stage["optimizer"])}
    values["strategy"] = {**values["strategy"], "stages": stages}
    return json.dumps(values, sort_keys=True)


def _class_of(node: Any) -> str | None:
    return None if node is None else node["_target_"]


def _differing_keys(values: Sequence[dict[str, Any]]) -> str:
    """Name the keys in which configs differ."""
    flat = [_flatten(values_of_run, "") for values_of_run in values]
    keys = sorted(set().union(*flat))
    differing = [key for key in keys if any(values_of_run.get(key) != flat[0].get(key) for values_of_run in flat)]
    more = f" and {len(differing) - MAX_NAMED} more keys" if len(differing) > MAX_NAMED else ""
    return ", ".join(differing[:MAX_NAMED]) + more


def _flatten(value: Any, key: str) -> dict[str, Any]:
    """Return the values of a config by their dotted keys."""
    if not isinstance(value, dict) or not value:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flatten(item, f"{key}.{name}" if key else name)
    return flat
