"""Layers in 8 bits: which ones, how, and how far their outputs move."""

import numpy as np
import pytest
import torch
from torch import nn

from mmrun.data.store import MappedColumn
from mmrun.deploy.quantize import SCOPES, quantize
from mmrun.errors import RunError
from mmrun.models.compress.int8 import Quantization

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


class Model(nn.Module):
    """A spectrum, whose filters are not learned, and two layers."""

    def __init__(self):
        super().__init__()
        self.spectrum = nn.Identity()
        self.layers = nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 4))


def build_onnx(with_layers=True):
    """Build what torch exports of such a model, without waiting for it."""
    generator = np.random.default_rng(0)
    weights = {"filters": (64, 32), "w0": (32, 48), "w2": (48, 4)}
    nodes = [("MatMul", ["x", "filters"], "s", "spectrum"), ("Abs", ["s"], "a" if with_layers else "y", "spectrum")]
    if with_layers:
        nodes += [("MatMul", ["a", "w0"], "h", "layers.0"), ("Relu", ["h"], "r", "layers.1")]
        nodes += [("MatMul", ["r", "w2"], "y", "layers.2")]
    made = []
    for operator, inputs, output, scope in nodes:
        made.append(onnx.helper.make_node(operator, inputs, [output], name=f"node_{output}"))
        entry = made[-1].metadata_props.add()
        entry.key, entry.value = SCOPES, repr(["", scope, "operator"])
    constants = []
    for name, shape in weights.items():
        constants.append(onnx.numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name))
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["batch", None]) for name in "xy")
    graph = onnx.helper.make_graph(made, "graph", [x], [y], constants)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def exported(tmp_path):
    onnx.save(build_onnx(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(scope="module")
def columns():
    values = torch.randn(40, 64, generator=torch.Generator().manual_seed(1))
    return {"x": MappedColumn({"": values}, np.ones(40, dtype=bool), {})}


def run(path, columns):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": columns["x"].parts[""].numpy()})[0]


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("scheme", ["asymmetric", "symmetric"])
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_outputs_stay_close(mode, scheme, granularity, exported, columns, tmp_path):
    quantization = Quantization(mode, scheme, granularity)
    quantize(exported, tmp_path / "int8.onnx", Model(), quantization, columns if mode == "static" else None)
    expected = run(exported, columns)
    assert 0 < np.abs(run(tmp_path / "int8.onnx", columns) - expected).max() < 0.05 * np.abs(expected).max()


def list_constants(path):
    """Return type and shape of each constant of an ONNX file."""
    constants = []
    for tensor in onnx.load(path).graph.initializer:
        constants.append((onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name, tuple(tensor.dims)))
    return constants


def test_weights_are_integers_with_a_scale_for_each_channel(exported, columns, tmp_path):
    quantize(exported, tmp_path / "int8.onnx", Model(), Quantization(), columns)
    constants = list_constants(tmp_path / "int8.onnx")
    assert {("int8", (32, 48)), ("int8", (48, 4)), ("float32", (48,)), ("float32", (4,))} <= set(constants)


def test_a_tensor_has_one_scale(exported, columns, tmp_path):
    quantize(exported, tmp_path / "int8.onnx", Model(), Quantization(granularity="tensor"), columns)
    assert ("float32", (48,)) not in list_constants(tmp_path / "int8.onnx")


def test_dynamic_asymmetric_weights_are_unsigned(exported, tmp_path):
    quantize(exported, tmp_path / "int8.onnx", Model(), Quantization("dynamic"), None)
    assert {("uint8", (32, 48)), ("uint8", (48, 4))} <= set(list_constants(tmp_path / "int8.onnx"))


def test_what_is_not_learned_stays_in_fp32(exported, columns, tmp_path):
    quantize(exported, tmp_path / "int8.onnx", Model(), Quantization(), columns)
    assert ("float32", (64, 32)) in list_constants(tmp_path / "int8.onnx")


def test_a_model_without_layers_is_refused(tmp_path, columns):
    onnx.save(build_onnx(with_layers=False), tmp_path / "model.onnx")
    with pytest.raises(RunError, match="no convolution or linear layer has weights"):
        quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", Model(), Quantization("dynamic"), None)


def test_a_damaged_model_is_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(RunError, match=r"^model\.onnx: cannot be quantized \("):
        quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", Model(), Quantization("dynamic"), None)
