"""Opens exported models as functions of named arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

RunModel = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]  # named inputs to named outputs


def open_session(path: Path, num_threads: int = 0) -> Any:
    """Open an ONNX file on the CPU.

    Args:
        path: of the file.
        num_threads: of an operator; 0: onnxruntime chooses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def open_onnx(model: Path, num_threads: int = 0) -> RunModel:
    """Open an ONNX file on the CPU.

    Args:
        model: the file.
        num_threads: of an operator; 0: onnxruntime chooses.

    Returns:
        A function from named inputs to named outputs.
    """
    session = open_session(model, num_threads)
    names = [value.name for value in session.get_outputs()]
    read = {value.name for value in session.get_inputs()}

    def run_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = session.run(names, {name: array for name, array in inputs.items() if name in read})
        return dict(zip(names, values, strict=True))

    return run_model


def open_torch(model: Path) -> RunModel:
    """Open a .pt2 file.

    Args:
        model: the file.

    Returns:
        A function from named inputs to named outputs.
    """
    module = torch.export.load(model).module()

    def run_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module({name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run_model
