"""Checkpoints: safetensors and JSON in a folder that exists under its name only when it is whole."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmrun.errors import RunError

Tensors = dict[str, Tensor]


def save(folder: Path, parts: dict[str, Tensors], state: dict[str, Any]) -> None:
    """Write each part as <part>.safetensors and the state as state.json, then take the folder's name at once."""
    fresh, old = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for part, tensors in parts.items():
        save_file(_unshared(tensors), fresh / f"{part}.safetensors")
    (fresh / "state.json").write_text(json.dumps(state))
    for path in [*fresh.iterdir(), fresh]:
        _sync(path)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Tell whether a checkpoint is there, also after a kill between the two renames of `save`."""
    old = folder.with_name(f"{folder.name}.old")
    if not folder.exists() and old.exists():
        old.rename(folder)
    return folder.exists()


def load(folder: Path, *parts: str) -> tuple[Any, ...]:
    """Give the state and the named parts."""
    try:
        state = json.loads((folder / "state.json").read_text())
        return state, *(load_file(folder / f"{part}.safetensors") for part in parts)
    except (OSError, ValueError, SafetensorError) as error:
        raise RunError(f"{folder}: damaged checkpoint ({error}); remove the folder to go on without it") from None


def _unshared(tensors: Tensors) -> Tensors:
    """Copy what shares memory: safetensors refuses tied weights."""
    seen: set[int] = set()
    unshared = {}
    for name, tensor in tensors.items():
        whole = tensor.detach().contiguous()
        unshared[name] = whole.clone() if whole.data_ptr() in seen else whole
        seen.add(whole.data_ptr())
    return unshared


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ------------------------------------------------------------------------------- what else a training is made of


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Split an optimiser's state into tensors, named `<parameter number>.<buffer>`, and JSON values."""
    whole = optimizer.state_dict()
    tensors: Tensors = {}
    values: dict[str, Any] = {}
    for number, buffers in whole["state"].items():
        for name, value in buffers.items():
            (tensors if isinstance(value, Tensor) else values)[f"{number}.{name}"] = value
    return tensors, {"values": values, "param_groups": whole["param_groups"]}


def parameters_of(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> Tensors:
    """Give the parameter to which each of the tensors belongs that `optimizer_state` named."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {name: parameters[int(name.partition(".")[0])] for name in names}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, rest: dict[str, Any]) -> None:
    """Put back what `optimizer_state` gave."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **rest["values"]}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})


def random_state() -> Tensors:
    """Give the state of torch's global generators, of the CPU and of each GPU."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def restore_random(states: Tensors) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all([states[f"cuda{number}"] for number in range(torch.cuda.device_count())])


def load_weights(module: nn.Module, tensors: Tensors, folder: Path) -> None:
    """Fill a module, strictly; the names that do not fit are said."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise RunError(f"{folder}: the weights do not fit this model: {reason}") from None
