"""Contract checks for user-defined classes: the same that mmrun's own encoders, fusions, objectives ... pass.

MMRUN_ALLOW=my_parts python -m mmrun.testing my_parts.product.Product
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import torch

from mmrun.data.table import Column, Table, Target
from mmrun.errors import ConfigError
from mmrun.tasks import build_task
from mmrun.testing import augmentations, encoders, fusions, objectives, parts, tasks
from mmrun.testing.examples import ENCODER_METADATA, build_model, encoder_inputs
from mmrun.training.callback import Callback
from mmrun.types import Augmentation, Encoder, Fusion, Objective, Task

T = TypeVar("T")
Arguments = Mapping[str, object]  # of a constructor, by name
Check = tuple[str, Callable[[], None]]  # what is checked, and a function that raises AssertionError where it fails


def checks_of(path: str, arguments: Arguments) -> list[Check]:
    """Return the contract checks for a class or function.

    Args:
        path: for example my_parts.product.Product.
        arguments: of its constructor, besides the optional ones that a run passes.

    Returns:
        for each check, what it checks, and a function that raises AssertionError where it fails.

    Raises:
        ConfigError: there is no such class, or it is of no kind that has a contract.
    """
    module, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if inspect.isclass(target) and issubclass(target, Fusion):
        return list(_fusion_checks(partial(_build, target, arguments)))
    if inspect.isclass(target) and issubclass(target, Encoder):
        return list(_encoder_checks(target, arguments))
    if inspect.isclass(target) and issubclass(target, Objective):
        return list(_objective_checks(target, arguments))
    if inspect.isclass(target) and issubclass(target, Augmentation):
        return list(_augmentation_checks(target, arguments))
    if inspect.isclass(target) and tasks.kinds_of(target):
        return list(_task_checks(target, arguments))
    if inspect.isclass(target) and issubclass(target, Callback):
        return [(_description(parts.check_hooks), lambda: parts.check_hooks(target(**arguments)))]
    if inspect.isclass(target) and all(hasattr(target, method) for method in ("fit", "decode", "state")):
        return list(_preprocessor_checks(target, arguments))
    if inspect.isfunction(target) and inspect.signature(target).return_annotation in (Table, "Table"):
        return [(_description(parts.check_table), lambda: parts.check_table(target(**arguments)))]
    raise ConfigError(
        f"{path}: not a Fusion, Encoder, Objective, Augmentation, Callback, task, preprocessor (fit, decode, state) or "
        "data source (a function whose return annotation is Table)"
    )


def _build(target: Callable[..., T], arguments: Arguments, optional_kwargs: Arguments) -> T:
    """Call a class with its arguments, and with the optional ones that its signature names."""
    parameters = inspect.signature(target).parameters
    optional = {name: value for name, value in optional_kwargs.items() if name in parameters and name not in arguments}
    return target(**arguments, **optional)


def _description(check: Callable[..., None]) -> str:
    """Return the first line of a check's docstring."""
    return (check.__doc__ or check.__name__).split("\n")[0].strip()


def _fusion_checks(build: Callable[[Arguments], Fusion]) -> Iterator[Check]:
    def build_fusion(dims: Mapping[str, int]) -> Fusion:
        return build({"dims": dims, "num_outputs": fusions.NUM_OUTPUTS})

    for check in fusions.CHECKS:
        for count in (1, 2, 3, 5):
            for tokens in (True, False):
                description = f"{_description(check)} ({count} modalities, {'with' if tokens else 'without'} tokens)"
                yield description, partial(check, build_fusion, count, tokens)


def _encoder_checks(target: type[Encoder], arguments: Arguments) -> Iterator[Check]:
    def build_encoder() -> Encoder:
        torch.manual_seed(0)
        encoder = _build(target, arguments, ENCODER_METADATA[target.kind])
        encoder.fit(encoder_inputs(encoder.kind))
        return encoder.eval()

    for check in encoders.CHECKS:
        yield _description(check), partial(_run_encoder_check, check, build_encoder)


def _run_encoder_check(check: Callable[[Encoder], None], build_encoder: Callable[[], Encoder]) -> None:
    check(build_encoder())


def _objective_checks(target: type[Objective], arguments: Arguments) -> Iterator[Check]:
    def build_objective() -> Objective:
        torch.manual_seed(1)
        return _build(target, arguments, {"model": build_model(), **objectives.OPTIONAL_KWARGS})

    for check in objectives.CHECKS:
        yield _description(check), partial(check, build_objective)


def _augmentation_checks(target: type[Augmentation], arguments: Arguments) -> Iterator[Check]:
    build = partial(_build, target, arguments, augmentations.build_metadata(target.kind))
    for check in augmentations.CHECKS:
        yield _description(check), partial(check, build)


def _task_checks(target: type, arguments: Arguments) -> Iterator[Check]:
    def build(name: str, column: Target, train_rows: np.ndarray) -> Task:
        return build_task(name, column, train_rows, partial(_build, target, arguments))

    for kind in tasks.kinds_of(target):
        for check in tasks.CHECKS:
            yield f"{_description(check)} ({kind})", partial(check, build, tasks.TARGETS[kind])


def _preprocessor_checks(target: Callable[..., Any], arguments: Arguments) -> Iterator[Check]:
    values = getattr(target, "example_values", None)
    if not values:
        raise ConfigError(
            f"{target.__name__}: add `example_values`, a list of a few raw values, so that decoding can be checked"
        )
    column = Column(getattr(target, "kind", "text"), values)
    for check in (parts.check_decoding, parts.check_state):
        yield _description(check), partial(check, target(**arguments), column)
