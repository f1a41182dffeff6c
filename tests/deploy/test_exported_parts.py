"""Which encoders and fusions can be exported, each at a tiny size and compared with itself."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from mmrun.testing.encoders import take_rows
from mmrun.testing.examples import encoder_input, fusion_input
from mmrun.testing.fusions import build_seeded, map_tensors
from tests.models.conftest import tiny as tiny
from tests.models.encoders.test_contract import LARGER, kind_of
from tests.models.encoders.test_contract import NODES as ENCODERS
from tests.models.encoders.test_contract import build as build
from tests.models.fusions.test_contract import NAMES as FUSIONS
from tests.models.fusions.test_contract import make_builder as make_builder

REFUSED_BY_TORCH_EXPORT = ("audio/tower",)  # CLAP's window attention fixes the number of rows
REFUSED_BY_ONNX = ("text/hf:t5",)


@pytest.fixture(scope="module", autouse=True)
def single_registry():
    """Let torch build its table of ONNX operators once, not for each export: two thirds of the time of a small one."""
    pytest.importorskip("onnxscript")
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


class Pooled(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder(x).pooled


def export_onnx(module, arguments, path):
    sizes = tree_map(lambda part: None if part is None else {0: torch.export.Dim("batch")}, arguments)
    with torch.no_grad():
        program = torch.export.export(module, arguments, dynamic_shapes=sizes)
    torch.onnx.export(program, dynamo=True, verbose=False).save(str(path))


def run_onnx(path, arguments):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = [part.numpy() for part in tree_flatten(arguments)[0] if part is not None]
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


def assert_equal(module, arguments, path):
    with torch.no_grad():
        np.testing.assert_allclose(run_onnx(path, arguments), module(*arguments).numpy(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", sorted({*ENCODERS} - {*REFUSED_BY_TORCH_EXPORT, *LARGER}))
def test_encoders_export_to_onnx(case, build, tmp_path):
    encoder, x = Pooled(build(case)), encoder_input(kind_of(case))
    export_onnx(encoder, (x,), tmp_path / "model.onnx")
    assert_equal(encoder, (take_rows(x, [1, 0, 1, 2, 0]),), tmp_path / "model.onnx")
    assert_equal(encoder, (take_rows(x, [1]),), tmp_path / "model.onnx")


@pytest.mark.parametrize("case", [*REFUSED_BY_TORCH_EXPORT, *REFUSED_BY_ONNX])
def test_the_others_do_not_export(case, build, tmp_path):
    with pytest.raises(Exception):  # noqa: B017, PT011 - of several classes, none of which is promised
        export_onnx(Pooled(build(case)), (encoder_input(kind_of(case)),), tmp_path / "model.onnx")


@pytest.mark.parametrize("name", FUSIONS)
def test_fusions_export_to_onnx(name, make_builder, tmp_path):
    fusion = build_seeded(make_builder(name), 3)
    features, present = fusion_input(3, tokens=True)
    present["text"] = torch.arange(6) % 2 == 0
    export_onnx(fusion, (features, present), tmp_path / "model.onnx")
    assert_equal(fusion, map_tensors(lambda part: part[:4], features, present), tmp_path / "model.onnx")
