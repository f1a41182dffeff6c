"""Checkpoints: safetensors and JSON in a folder that has its name only when it is complete."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmrun import digests
from mmrun.errors import DamagedError, RunError, StorageError
from mmrun.training import packed_weights

Tensors = dict[str, Tensor]

FORMAT = 2  # of state.json; from 2 on, digests.json stands beside it


def save(folder: Path, parts: dict[str, Tensors], state: Mapping[str, object], keep_previous: bool = False) -> None:
    """Write a checkpoint under another name, sync it, then rename it: it is never seen half written.

    Args:
        folder: where it goes; an older checkpoint there is replaced.
        parts: tensors by part, each written as <part>.safetensors.
        state: JSON values, written as state.json.
        keep_previous: keep the checkpoint that is replaced, to fall back to where this one is damaged later.

    Raises:
        StorageError: the disk is full or cannot be written; the checkpoint that was there is still there.
    """
    new, old = _beside(folder, "new"), _beside(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    try:
        _write(new, parts, state)
        if old.exists():
            shutil.rmtree(old)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in its own way
        reason = getattr(error, "strerror", None) or error
        exists(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise StorageError(f"{folder}: cannot be written ({reason})") from None
    if not keep_previous:
        shutil.rmtree(old, ignore_errors=True)


def exists(folder: Path) -> bool:
    """Return whether a checkpoint exists, also after a kill between the two renames of `save`.

    Args:
        folder: that `save` wrote; where only its predecessor survived a kill, that is renamed back.
    """
    old = _beside(folder, "old")
    if not folder.exists() and old.exists():
        old.rename(folder)
    return folder.exists()


def load(folder: Path, *parts: str) -> tuple[Any, ...]:
    """Return the state and the named parts, after their digests are checked; checkpoints of version 0.1.0 have none.

    Raises:
        DamagedError: a file is missing, or is not what was written.
    """
    try:
        state = json.loads((folder / "state.json").read_text("utf-8"))
        if "format" in state or (folder / digests.FILE).exists():
            digests.verify_folder(folder, ["state.json", *(f"{part}.safetensors" for part in parts)])
        state.pop("format", None)
        return state, *(packed_weights.unpack(load_file(folder / f"{part}.safetensors")) for part in parts)
    except (OSError, ValueError, AttributeError, TypeError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedError(f"{folder}: damaged checkpoint ({reason})") from None


def verify(folder: Path) -> None:
    """Check every file of a checkpoint.

    Raises:
        DamagedError: a file is missing, or is not what was written.
    """
    load(folder)
    if (folder / digests.FILE).exists():
        digests.verify_folder(folder)
    else:  # version 0.1.0
        load(folder, *(file.stem for file in folder.glob("*.safetensors")))


def remove(folder: Path) -> bool:
    """Remove a damaged checkpoint, and return whether the one before it took its place.

    Args:
        folder: that `save` wrote.
    """
    shutil.rmtree(folder, ignore_errors=True)
    return exists(folder)


def _write(new: Path, parts: Mapping[str, Tensors], state: Mapping[str, object]) -> None:
    """Write and sync the files of a checkpoint."""
    new.mkdir(parents=True)
    for part, tensors in parts.items():
        save_file(_unshared(tensors), new / f"{part}.safetensors")
    (new / "state.json").write_text(json.dumps({"format": FORMAT, **state}), encoding="utf-8")
    digests.write_digests(new)
    for path in [*new.iterdir(), new]:
        _sync(path)


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


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


# ------------------------------------------------------------------------------ optimizer state and random states


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, object]]:
    """Split an optimizer's state into tensors, named `<parameter number>.<buffer>`, and JSON values.

    Returns:
        The tensors; and the values, `{"values": {...}, "param_groups": [...]}`.
    """
    whole = optimizer.state_dict()
    tensors: Tensors = {}
    values: dict[str, object] = {}
    for number, buffers in whole["state"].items():
        for name, value in buffers.items():
            (tensors if isinstance(value, Tensor) else values)[f"{number}.{name}"] = value
    return tensors, {"values": values, "param_groups": whole["param_groups"]}


def parameters_of(optimizer: torch.optim.Optimizer, names: Iterable[str]) -> Tensors:
    """Return, for each tensor name of `optimizer_state`, the parameter that it belongs to.

    Args:
        optimizer: that the tensors belong to.
        names: `<parameter number>.<buffer>`.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {name: parameters[int(name.partition(".")[0])] for name in names}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, values: dict[str, Any]) -> None:
    """Restore what `optimizer_state` returned.

    Args:
        optimizer: over the same parameters in the same order.
        tensors: by `<parameter number>.<buffer>`.
        values: the values beside them.

    Raises:
        RunError: the parameters were grouped differently.
    """
    state: dict[int, dict[str, object]] = {}
    for key, value in {**tensors, **values["values"]}.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if [len(group["params"]) for group in values["param_groups"]] != sizes:
        raise RunError(
            "the optimizer's state was saved by another version of mmrun, which grouped parameters differently; "
            "--rerun trains the run anew"
        )
    optimizer.load_state_dict({"state": state, "param_groups": values["param_groups"]})


def random_state(device: torch.device) -> Tensors:
    """Return the states of torch's global generators, for the CPU and the device of the run.

    Args:
        device: that the run uses; a GPU that it does not use is not touched.

    Returns:
        By type of device, `cpu` and perhaps `cuda`, each [bytes] uint8.
    """
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random(states: Tensors, device: torch.device) -> None:
    """Restore what `random_state` returned. Where a run moves from a CPU to a GPU, the state of that is left as it is.

    Args:
        states: by type of device, or numbered (`cuda0`) as in checkpoints of version 0.1.0.
        device: that the run uses.
    """
    torch.set_rng_state(states["cpu"])
    state = states.get(device.type, states.get(f"{device.type}{device.index or 0}"))
    if device.type == "cuda" and state is not None:
        torch.cuda.set_rng_state(state, device)


def load_weights(module: nn.Module, tensors: Tensors, folder: Path) -> None:
    """Load weights strictly.

    Raises:
        RunError: names or shapes do not fit; it names the first.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise RunError(f"{folder}: the weights do not fit this model: {reason}") from None
