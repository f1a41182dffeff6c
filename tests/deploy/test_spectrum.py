"""Fourier transforms become convolutions, with the same spectrum."""

import numpy as np
import pytest

from mmrun.deploy.spectrum import replace_transforms, restore_kernels

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
onnx_ir = pytest.importorskip("onnx_ir")

HOP = 40


def build_stft(window):
    """Build a model of an STFT of 1,000 samples."""
    arrays = {"hop": np.array(HOP), "window": window, "length": np.array(len(window))}
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    node = onnx.helper.make_node("STFT", ["x", *arrays], ["y"], name="node", onesided=1)
    x = onnx.helper.make_tensor_value_info("x", 1, ["batch", 1000, 1])
    y = onnx.helper.make_tensor_value_info("y", 1, ["batch", "frames", len(window) // 2 + 1, 2])
    graph = onnx.helper.make_graph([node], "graph", [x], [y], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    return onnx_ir.serde.deserialize_model(model)


def replace(window):
    model = build_stft(window)
    replace_transforms(model.graph)
    return onnx_ir.serde.serialize_model(model)


def list_operators(model):
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("num_samples", [256, 400])
def test_the_spectrum_is_that_of_numpy(num_samples):
    import onnxruntime

    generator, window = np.random.default_rng(0), np.hanning(num_samples).astype(np.float32)
    model = replace(window)
    assert "STFT" not in list_operators(model)
    x = generator.normal(size=(2, 1000, 1)).astype(np.float32)
    [spectrum] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    frames = np.lib.stride_tricks.sliding_window_view(x[..., 0], num_samples, axis=1)[:, ::HOP]
    expected = np.fft.rfft(frames * window)
    np.testing.assert_allclose(spectrum[..., 0] + 1j * spectrum[..., 1], expected, atol=1e-4)


@pytest.mark.parametrize("num_samples", [1024, 250])
def test_a_long_window_keeps_its_fast_transform(num_samples):
    assert "STFT" in list_operators(replace(np.ones(num_samples, dtype=np.float32)))


def test_kernels_that_onnxruntime_has_stored_are_computed_again(tmp_path):
    import onnxruntime

    exported = replace(np.ones(256, dtype=np.float32))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "stored.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(exported.SerializeToString(), options)
    stored = onnx.load(tmp_path / "stored.onnx")
    assert stored.ByteSize() > 200_000
    restore_kernels(stored, exported)
    assert stored.ByteSize() < 20_000
    x = np.random.default_rng(0).normal(size=(1, 1000, 1)).astype(np.float32)
    outputs = []
    for model in (exported, stored):
        outputs += onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(*outputs)
