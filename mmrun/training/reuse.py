"""Stage results that later runs load: stored under a key of everything that determines them."""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmrun import code_version
from mmrun.models.multimodal import Multimodal

# What a stage's result cannot depend on: everything else in the package enters the key.
UNRELATED = ("api.py", "cli", "deploy", "evaluation", "results", "search")


def result_key(determinants: Mapping[str, object]) -> str:
    """Return the name of a result: the same for equal determinants, code (of allowed packages too) and libraries.

    Args:
        determinants: JSON values that decide the result.
    """
    code = [code_version.digest_package(without=UNRELATED), code_version.digest_plugins()]
    whole = {**determinants, "code": code, "libraries": code_version.library_versions()}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:32]


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of some tensors, names and bits.

    Args:
        tensors: by name; the order does not matter.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextmanager
def record_used_parts(model: Multimodal) -> Iterator[set[str]]:
    """Record which parts of a model run while the context is open: encoder.image, fusion, head.label ...

    Yields:
        The set of names, filled while the context is open. All probes of a modality are one part, `probe.image`.
    """
    used: set[str] = set()
    hooks = []
    for name, module in model.named_modules():
        if name and name == part_of(name) and not name.startswith("probe."):
            hooks.append(module.register_forward_hook(functools.partial(_record, used, name)))
    for modality, by_task in model.probe.named_children():
        for probe in by_task.children():
            hooks.append(probe.register_forward_hook(functools.partial(_record, used, f"probe.{modality}")))
    try:
        yield used
    finally:
        for hook in hooks:
            hook.remove()


class RecordedTargets(dict[str, Tensor]):
    """The targets of a batch that note whether anything reads them.

    Args:
        targets: by task.

    Attributes:
        were_read: whether a target was looked up, copied or iterated over.
    """

    def __init__(self, targets: Mapping[str, Tensor]) -> None:
        super().__init__(targets)
        self.were_read = False

    def __getattribute__(self, name: str) -> Any:
        if name not in ("were_read", "__class__", "__len__"):
            self.were_read = True
        return super().__getattribute__(name)

    def __getitem__(self, task: str) -> Tensor:
        self.were_read = True
        return super().__getitem__(task)

    def __iter__(self) -> Iterator[str]:
        self.were_read = True
        return super().__iter__()

    def __or__(self, other: Any) -> Any:
        self.were_read = True
        return super().__or__(other)

    def __ror__(self, other: Any) -> Any:
        self.were_read = True
        return super().__ror__(other)


def _record(used: set[str], name: str, *_: object) -> None:
    used.add(name)


def part_of(parameter: str) -> str:
    """Return the part of the model that holds a parameter or buffer: encoder.image.conv.weight -> encoder.image.

    Args:
        parameter: its name in the model's state dict.
    """
    first, *rest = parameter.split(".")
    return first if first == "fusion" else ".".join([first, *rest[:1]])


def tensors_of(state: Mapping[str, Tensor], parts: Iterable[str]) -> dict[str, Tensor]:
    """Return those tensors of a state dict that belong to some parts, parameters and buffers.

    Args:
        state: a state dict of the model.
        parts: names as `part_of` returns them.
    """
    selected = set(parts)
    return {name: tensor for name, tensor in state.items() if part_of(name) in selected}
