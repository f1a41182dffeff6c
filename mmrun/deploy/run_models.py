"""Opens exported models as functions of named arrays. Scripts beside them do too, without PyTorch."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LITERT_PREFIX = "args_0_"  # of inputs: litert-torch counts the arguments

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


def open_litert(model: Path, num_threads: int = 1) -> RunModel:
    """Open a LiteRT file on the CPU.

    Args:
        model: the file, of one row.
        num_threads: of an operator.

    Returns:
        A function from named inputs, of any number of rows, to named outputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    with without_native_messages():
        interpreter = Interpreter(str(model), num_threads=num_threads)
        interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    dtypes = {name: details["dtype"] for name, details in runner.get_input_details().items()}

    def run_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        named = {f"{LITERT_PREFIX}{name}": array for name, array in inputs.items()}
        arrays = {name: named[name].astype(dtype) for name, dtype in dtypes.items()}
        num_rows = len(next(iter(inputs.values())))
        rows = [runner(**{name: array[row : row + 1] for name, array in arrays.items()}) for row in range(num_rows)]
        return {name: np.concatenate([outputs[name] for outputs in rows]) for name in rows[0]}

    return run_model


@contextmanager
def without_native_messages() -> Iterator[None]:
    """Silence what compiled code writes to stderr, about delegates and flags that are not the user's."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def open_torch(model: Path) -> RunModel:
    """Open a .pt2 file.

    Args:
        model: the file.

    Returns:
        A function from named inputs to named outputs.
    """
    import torch

    module = torch.export.load(model).module()

    def run_model(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module({name: torch.from_numpy(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return run_model
