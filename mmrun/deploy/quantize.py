"""An exported ONNX model in 8-bit integers, by onnxruntime."""

import ast
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmrun.deploy.agreement import Columns, gather_inputs
from mmrun.deploy.graph import without_messages
from mmrun.deploy.run_models import open_session
from mmrun.deploy.spectrum import restore_kernels
from mmrun.errors import MmrunError, RunError
from mmrun.hub import summarize_error
from mmrun.models.compress.int8 import Quantization

LAYERS = ("Conv", "Gemm", "MatMul")  # operators of ONNX that layers with weights become
BATCH_SIZE = 32  # calibration rows at once
SCOPES = "pkg.torch.onnx.name_scopes"  # what torch calls the names of the modules that a node comes from


def quantize(
    model: Path, output: Path, modules: nn.Module, quantization: Quantization, calibration: Columns | None
) -> None:
    """Write an ONNX model whose layers with weights compute in 8 bits.

    Everything else stays in fp32: what stands between these layers, products of activations (attention), and modules
    without parameters (a spectrogram).

    Args:
        model: in fp32.
        output: written.
        modules: that were exported.
        quantization: how.
        calibration: decoded rows, all of which are read in static mode.

    Raises:
        RunError: the model has no layer that can be quantized, or onnxruntime cannot quantize it.
    """
    try:
        with without_messages():
            _quantize(model, output, modules, quantization, calibration)
    except MmrunError:
        raise
    except Exception as error:  # onnxruntime raises many classes, also its own assertions
        reason = summarize_error(error)
        raise RunError(f"{model.name}: cannot be quantized ({type(error).__name__}: {reason})") from None


def _quantize(
    model: Path, output: Path, modules: nn.Module, quantization: Quantization, calibration: Columns | None
) -> None:
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    exported = onnx.load(model)
    without_parameters = _list_without_parameters(exported.graph, modules)
    del exported.graph.value_info[:]  # inferred again: the exporter's hold sizes that the quantizer rejects
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        unprepared, prepared, quantized = (Path(folder) / f"{name}.onnx" for name in ("unprepared", "prepared", "int8"))
        onnx.save(exported, unprepared)
        quant_pre_process(unprepared, prepared, skip_symbolic_shape=True)
        layers = _list_layers(onnx.load(prepared).graph, without_parameters)
        if not layers:
            raise RunError("--quantize int8: no convolution or linear layer has weights; leave it out")
        if quantization.mode == "static":
            assert calibration is not None
            _quantize_static(prepared, quantized, quantization, layers, calibration)
        else:
            _quantize_dynamic(prepared, quantized, quantization, layers)
        small = onnx.load(quantized)
        restore_kernels(small, exported)
        _save_small(small, output)


def _list_without_parameters(graph: Any, modules: nn.Module) -> set[str]:
    """Return the names of the nodes that come from a module without parameters."""
    by_name = dict(modules.named_modules())
    names = set()
    for node in graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
        innermost = [by_name[scope] for scope in ast.literal_eval(scopes) if scope in by_name]
        if innermost and next(innermost[-1].parameters(), None) is None:
            names.add(node.name)
    return names


def _list_layers(graph: Any, without_parameters: Collection[str]) -> list[str]:
    """Return the names of the nodes that multiply by a weight, and belong to a module with parameters."""
    constants = {tensor.name for tensor in graph.initializer}
    layers = []
    for node in graph.node:
        has_weight = not constants.isdisjoint(node.input)
        if node.op_type in LAYERS and has_weight and node.name not in without_parameters:
            layers.append(node.name)
    return layers


def _quantize_static(
    model: Path, output: Path, quantization: Quantization, layers: list[str], calibration: Columns
) -> None:
    """Quantize weights to int8, and activations to uint8, which CPUs multiply by int8 faster than int8 itself."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # a class of an untyped library
        def __init__(self) -> None:
            self.batches = _iterate_batches(model, calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    quantize_static(
        model,
        output,
        Reader(),
        nodes_to_quantize=layers,
        per_channel=quantization.granularity == "channel",
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": quantization.scheme == "symmetric", "MatMulConstBOnly": True},
    )


def _iterate_batches(model: Path, columns: Columns) -> Iterator[dict[str, np.ndarray]]:
    read = {value.name for value in open_session(model).get_inputs()}
    num_rows = len(next(iter(columns.values())).present)
    for start in range(0, num_rows, BATCH_SIZE):
        inputs = gather_inputs(columns, torch.arange(start, min(start + BATCH_SIZE, num_rows)))
        yield {name: tensor.numpy() for name, tensor in inputs.items() if name in read}


def _quantize_dynamic(model: Path, output: Path, quantization: Quantization, layers: list[str]) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    is_symmetric = quantization.scheme == "symmetric"
    quantize_dynamic(
        model,
        output,
        nodes_to_quantize=layers,
        per_channel=quantization.granularity == "channel",
        weight_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
        extra_options={"WeightSymmetric": is_symmetric},
    )


def _save_small(model: Any, path: Path) -> None:
    """Save a model without what only describes it: shapes inside, names of nodes, and where they come from."""
    import onnx

    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.name = ""
    onnx.save(model, path)
