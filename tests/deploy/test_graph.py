"""A run as one graph of named tensors, on a small model."""

import pytest
import torch
from torch import nn

from mmrun.deploy.graph import Graph, list_shapes, name_inputs, trace
from mmrun.deploy.predictor import Predictor
from mmrun.errors import RunError
from mmrun.head import FUSED, Head
from mmrun.results.folder import RunFolder
from mmrun.run.data import Fitted
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model

PARTS = {
    "photo": {"": {"shape": [1, 8, 8], "dtype": "uint8"}},
    "title": {"ids": {"shape": [10], "dtype": "int32"}, "mask": {"shape": [10], "dtype": "bool"}},
}


def build_graph(head=FUSED):
    modalities = {}
    for name, parts in PARTS.items():
        modalities[name] = {"kind": KINDS[name], "columns": [name], "state": {}, "parts": parts}
    record = {"modalities": modalities, "tasks": {}}
    model = build_model(*PARTS).eval()
    return Graph(Predictor(RunFolder("a run"), None, Fitted(KINDS, {}, TASKS), record, model, None, head)).eval()


def build_inputs(rows=4):
    batch = build_batch(*PARTS, rows=rows)
    pixels = (batch.inputs["photo"] * 255).to(torch.uint8)
    title = {"ids": batch.inputs["title"]["ids"].int(), "mask": batch.inputs["title"]["mask"]}
    return name_inputs({"photo": {"": pixels}, "title": title}, batch.present)


def test_inputs_are_stored_parts_and_outputs_are_scores():
    inputs = build_inputs()
    assert list(inputs) == ["photo", "title.ids", "title.mask", "present.photo", "present.title"]
    outputs = build_graph()(inputs)
    assert list(outputs) == ["embedding", "scores.label", "scores.age"]
    torch.testing.assert_close(outputs["scores.label"].sum(1), torch.ones(4))


def test_a_traced_graph_reads_any_number_of_rows_and_any_length_of_text():
    graph, inputs = build_graph(), build_inputs()
    program = trace(graph, inputs)
    assert list_shapes(program, inputs) == {
        "photo": ["batch", 1, 8, 8],
        "title.ids": ["batch", "length"],
        "title.mask": ["batch", "length"],
        "present.photo": ["batch"],
        "present.title": ["batch"],
    }
    more = build_inputs(rows=6)
    more |= {name: more[name][:, :7] for name in ("title.ids", "title.mask")}
    with torch.no_grad():
        torch.testing.assert_close(program.module()(more), graph(more))


def test_a_probe_is_traced_without_the_other_modalities():
    graph, inputs = build_graph(Head("photo")), build_inputs()
    program = trace(graph, inputs)
    without_text = {**inputs, "title.ids": inputs["title.ids"] * 0, "present.title": ~inputs["present.title"]}
    with torch.no_grad():
        torch.testing.assert_close(program.module()(without_text), graph(inputs))


class Branching(nn.Module):
    dim = 12

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, x):
        return self.encoder(x * 2 if x.sum() > 0 else x)


def test_a_part_that_cannot_be_traced_is_named():
    graph = build_graph()
    graph.model.encoder["photo"] = Branching(graph.model.encoder["photo"])
    with pytest.raises(RunError, match=r"^encoder\.photo \(Branching\): cannot be exported by torch\.export: .+$"):
        trace(graph, build_inputs())
