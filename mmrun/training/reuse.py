"""Stages trained once: a result is stored under a key of everything that determines it, and loaded by later runs."""

import fcntl
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mmrun
from mmrun.models.multimodal import Multimodal

DECISIVE = ("models", "objectives", "training", "data", "tasks")  # packages whose code a result depends on


def key(determinants: Mapping[str, Any]) -> str:
    """Give the name of a result: the same for the same determinants, code and versions of torch."""
    told = {**determinants, "code": _code(), "torch": torch.__version__}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash some weights, names and bits."""
    told = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        told.update(name.encode())
        told.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.hexdigest()


@functools.cache
def _code() -> str:
    digest = hashlib.sha256()
    for package in DECISIVE:
        for file in sorted((Path(mmrun.__file__).parent / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def parts_run(model: Multimodal) -> Iterator[set[str]]:
    """Note which parts of a model run meanwhile: encoder.image, fusion, head.label, probe.audio ..."""
    seen: set[str] = set()
    named = {name: module for name, module in model.named_modules() if name and name == part(name)}
    hooks = [
        module.register_forward_hook(functools.partial(_note, seen, name))
        for name, module in named.items()
        if not name.startswith("probe.")
    ]
    for modality, by_task in model.probe.named_children():
        for probe in by_task.children():
            hooks.append(probe.register_forward_hook(functools.partial(_note, seen, f"probe.{modality}")))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _note(seen: set[str], name: str, *_: Any) -> None:
    seen.add(name)


def part(parameter: str) -> str:
    """Give the part of the model that a parameter or buffer belongs to: encoder.image.conv.weight -> encoder.image."""
    first, *rest = parameter.split(".")
    return first if first == "fusion" else ".".join([first, *rest[:1]])


def tensors_of(state: Mapping[str, Tensor], parts: Iterable[str]) -> dict[str, Tensor]:
    """Give the tensors of some parts, parameters and buffers."""
    wanted = set(parts)
    return {name: tensor for name, tensor in state.items() if part(name) in wanted}


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time make a result; the system lets go when it dies, however it dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
