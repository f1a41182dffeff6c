"""What the training rows decided, as the run folder holds it: new rows are predicted without the training data."""

from functools import partial

import numpy as np
import torch

from mmrun.config import RunConfig
from mmrun.data.preprocess import items
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.results.schema import FittedModality, FittedPart, FittedRecord, FittedTask
from mmrun.run.class_names import tokenize_class_names
from mmrun.run.data import Fitted
from mmrun.run.session import Session
from mmrun.tasks import restore_task
from mmrun.types import Preprocessor, Task


def record_fitted(session: Session) -> FittedRecord:
    """Describe how new rows are read, and how the outputs for them are understood.

    Args:
        session: of a run that starts, its columns decoded.
    """
    modalities: dict[str, FittedModality] = {}
    for modality, preprocessor in session.data.preprocessors.items():
        parts: dict[str, FittedPart] = {}
        for name, tensor in session.columns[modality].gather(torch.zeros(1, dtype=torch.int64)).items():
            array = tensor.numpy()
            parts[name] = {"shape": list(array.shape[1:]), "dtype": str(array.dtype)}
        columns = session.data.table.fields.get(modality, [])
        state = preprocessor.state()
        modalities[modality] = {
            "kind": session.data.kinds[modality],
            "columns": columns,
            "state": state,
            "parts": parts,
        }
    tasks: dict[str, FittedTask] = {}
    for name, target in session.data.table.targets.items():
        tasks[name] = {"kind": target.task, "arguments": session.data.task_arguments[name]}
    for name, tokens in tokenize_class_names(session.config, session.data).items():
        tasks[name]["class_tokens"] = tokens
    return {"modalities": modalities, "tasks": tasks, "formats": dict(session.data.table.formats)}


def restore_fitted(config: RunConfig, record: FittedRecord) -> Fitted:
    """Build the preprocessors and tasks of a run without its training data.

    Args:
        config: of the run.
        record: what its folder holds.

    Raises:
        ConfigError: a preprocessor of the user's own cannot be restored.
    """
    kinds, preprocessors = {}, {}
    for modality, node in config.encoder.items():
        key_path = f"encoder.{modality}.preprocess"
        preprocessor: Preprocessor = instantiate(node["preprocess"], key_path)
        if not hasattr(preprocessor, "restore"):
            raise ConfigError(f"{key_path}: {type(preprocessor).__name__} has no method restore(state); add it")
        preprocessor = items.restore(preprocessor, record["modalities"][modality]["state"])
        kinds[modality], preprocessors[modality] = record["modalities"][modality]["kind"], preprocessor
    tasks: dict[str, Task] = {}
    for name, task in record["tasks"].items():
        node = config.tasks.get(name)
        build = None if node is None else partial(instantiate, node, f"tasks.{name}")
        arguments = {key: _to_array(value) for key, value in task["arguments"].items()}
        tasks[name] = restore_task(name, task["kind"], arguments, build)
    return Fitted(kinds, preprocessors, tasks)


def _to_array(value: object) -> object:
    """Return a list of numbers as the array that it was before it was JSON; a list of names stays one."""
    is_array = isinstance(value, list) and not any(isinstance(item, str) for item in value)
    return np.array(value) if is_array else value
