"""The formats in which a run is exported: how its graph becomes a file, and how this file is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from mmrun.deploy.graph import Graph, Inputs, Tensors, describe_inputs, save_onnx, trace
from mmrun.deploy.litert import save_litert
from mmrun.deploy.run_models import LITERT_PREFIX, RunModel, open_litert, open_onnx, open_torch
from mmrun.errors import ConfigError
from mmrun.installation import format_pip_command, format_venv_command


@dataclass(frozen=True)
class ModelFormat:
    """A format of exported models.

    Attributes:
        file: name of the model.
        save: writes a graph, given rows to trace it with, and returns the inputs of the file by name.
        open: reads the file.
        usage: of the file in Python.
        libraries: that exporting needs, as pip names them.
        script: that predicts without mmrun; None: it would need PyTorch.
        runtime: the library that the script runs the model with.
        notes: what the user should know of the format.
    """

    file: str
    save: Callable[[Graph, Inputs, Path], dict[str, Tensors]]
    open: Callable[[Path], RunModel]
    usage: str
    libraries: tuple[str, ...] = ()
    script: str | None = None
    runtime: str = "torch"
    notes: tuple[str, ...] = ()


def _save_onnx(graph: Graph, inputs: Inputs, path: Path) -> dict[str, Tensors]:
    program = trace(graph, inputs)
    save_onnx(program, graph, inputs, path)
    return describe_inputs(program, inputs)


def _save_torch(graph: Graph, inputs: Inputs, path: Path) -> dict[str, Tensors]:
    program = trace(graph, inputs)
    torch.export.save(program, path)
    return describe_inputs(program, inputs)


LITERT_LIBRARY = "litert-torch"  # which needs an older torch than the newest
FORMATS = {
    "onnx": ModelFormat(
        "model.onnx",
        _save_onnx,
        open_onnx,
        "onnxruntime.InferenceSession('model.onnx').run(None, {'NAME': array, ...})",
        ("onnx", "onnxscript", "onnxruntime"),
        "predict_onnx.py",
        "onnxruntime",
    ),
    "torch": ModelFormat(
        "model.pt2",
        _save_torch,
        open_torch,
        "torch.export.load('model.pt2').module()({'NAME': tensor, ...})`, all inputs in this order",
    ),
    "litert": ModelFormat(
        "model.tflite",
        save_litert,
        open_litert,
        "ai_edge_litert.interpreter.Interpreter('model.tflite').get_signature_runner()"
        f"(**{{'{LITERT_PREFIX}NAME': array, ...}})",
        (LITERT_LIBRARY,),
        "predict_litert.py",
        "ai-edge-litert",
        ("model.tflite predicts one row at a time",),
    ),
}


def list_missing(model_format: str) -> list[str]:
    """Return the libraries that a format needs and that are not installed.

    Args:
        model_format: a key of FORMATS.
    """
    return [name for name in FORMATS[model_format].libraries if find_spec(name.replace("-", "_")) is None]


def check_libraries(model_format: str) -> None:
    """Raise a ConfigError if a library is not installed that a format needs.

    Args:
        model_format: a key of FORMATS.
    """
    missing = list_missing(model_format)
    if not missing:
        return
    verb = "is" if len(missing) == 1 else "are"
    problem = f"--format {model_format}: {', '.join(missing)} {verb} not installed"
    if missing == [LITERT_LIBRARY]:
        raise ConfigError(
            f"{problem}, and needs an older torch than other parts of mmrun may; {format_venv_command('litert')}, "
            "then export with litert/bin/mmrun"
        )
    raise ConfigError(f"{problem}; {format_pip_command('install', *missing)}")
