"""Which encoders and fusions become LiteRT files, each at a tiny size and compared with itself."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from mmrun.deploy.litert import Flat, convert, save_litert
from mmrun.deploy.run_models import open_litert
from mmrun.errors import RunError
from mmrun.models.encoders.tabular import FtTransformer, Mlp
from mmrun.testing.encoders import take_rows
from mmrun.testing.examples import encoder_input, fusion_input
from mmrun.testing.fusions import build_seeded, map_tensors
from tests.deploy.test_exported_parts import Pooled
from tests.deploy.test_graph import build_graph, build_inputs
from tests.models.conftest import tiny as tiny
from tests.models.encoders.test_contract import NODES as ENCODERS
from tests.models.encoders.test_contract import build as build
from tests.models.encoders.test_contract import kind_of
from tests.models.fusions.test_contract import NAMES as FUSIONS
from tests.models.fusions.test_contract import make_builder as make_builder

pytest.importorskip("litert_torch", reason="the extra litert is not installed; it needs an environment of its own")

REFUSED = ("audio/hf", "audio/tower", "image/vit_tiny", "points/bev", "points/bev_timm", "text/bow")
DIFFERENT = ("image/vgg",)  # its file computes something else, which the comparison with the run finds; 474 MB
REFUSED_FUSIONS = ("cnn",)
LARGER = ("image/vit_small", "image/resnet50")  # of the same blocks as vit_tiny and resnet18


def convert_and_run(module, arguments, other_arguments, path):
    """Return what a module and its file compute for other arguments than those it was traced with."""
    from ai_edge_litert.interpreter import Interpreter

    convert(Flat(module, arguments).eval(), tuple(list_tensors(arguments)), path)
    runner = Interpreter(str(path)).get_signature_runner()
    arrays = {f"args_{number}": tensor.numpy() for number, tensor in enumerate(list_tensors(other_arguments))}
    inputs = {name: arrays[name].astype(value["dtype"]) for name, value in runner.get_input_details().items()}
    with torch.no_grad():
        return module(*other_arguments).numpy(), runner(**inputs)["output_0"]


def list_tensors(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize("case", sorted({*ENCODERS} - {*REFUSED, *DIFFERENT, *LARGER}))
def test_encoders_convert(case, build, tmp_path):
    encoder, x = Pooled(build(case)), encoder_input(kind_of(case))
    first, second = (take_rows(x, [row]) for row in (0, 1))
    expected, actual = convert_and_run(encoder, (first,), (second,), tmp_path / "model.tflite")
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", REFUSED)
def test_the_others_do_not_convert(case, build, tmp_path):
    x = take_rows(encoder_input(kind_of(case)), [0])
    with pytest.raises(Exception):  # noqa: B017, PT011 - of several classes, none of which is promised
        convert_and_run(Pooled(build(case)), (x,), (x,), tmp_path / "model.tflite")


@pytest.mark.parametrize("encoder", [Mlp(2, []), FtTransformer(2, [], dim=8, num_layers=1, num_heads=2)])
def test_tables_without_categories_convert(encoder, tmp_path):
    cells = {"numeric": torch.tensor([[0.5, 0]]), "missing": torch.tensor([[False, True]])}
    x = {**cells, "categorical": torch.zeros(1, 0, dtype=torch.int64)}
    expected, actual = convert_and_run(Pooled(encoder).eval(), (x,), (x,), tmp_path / "model.tflite")
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted({*FUSIONS} - {*REFUSED_FUSIONS}))
def test_fusions_convert(name, make_builder, tmp_path):
    fusion = build_seeded(make_builder(name), 3)
    features, present = fusion_input(3, tokens=True)
    present["text"] = torch.arange(6) % 2 == 0
    first, second = (map_tensors(lambda part, row=row: part[row : row + 1], features, present) for row in (0, 1))
    expected, actual = convert_and_run(fusion, first, second, tmp_path / "model.tflite")
    np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


def test_a_file_reads_one_row_and_is_run_on_any_number(tmp_path):
    graph, inputs = build_graph(), build_inputs()
    described = save_litert(graph, inputs, tmp_path / "model.tflite")
    assert described == {
        "photo": {"dtype": "uint8", "shape": [1, 1, 8, 8]},
        "title.ids": {"dtype": "int32", "shape": [1, 10]},
        "title.mask": {"dtype": "bool", "shape": [1, 10]},
        "present.photo": {"dtype": "bool", "shape": [1]},
        "present.title": {"dtype": "bool", "shape": [1]},
    }
    outputs = open_litert(tmp_path / "model.tflite")({name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.no_grad():
        expected = graph(inputs)
    assert set(outputs) == set(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(outputs[name], tensor.numpy(), atol=1e-5)


class Bessel(nn.Module):
    dim = 12

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder(torch.special.bessel_j0(x))


def test_a_part_that_cannot_be_converted_is_named(tmp_path, capfd):
    graph = build_graph()
    graph.model.encoder["photo"] = Bessel(graph.model.encoder["photo"])
    with pytest.raises(RunError, match=r"^encoder\.photo \(Bessel\): cannot be exported by LiteRT: .+$"):
        save_litert(graph, build_inputs(), tmp_path / "model.tflite")
    assert capfd.readouterr() == ("", "")
