"""A finished run as one computation graph of named tensors, from the decoded parts of a row to scores."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._pytree import tree_map_with_path

from mmrun.data.loader import convert_stored
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.run_models import open_session
from mmrun.deploy.spectrum import replace_transforms
from mmrun.errors import RunError
from mmrun.types import Batch, Input

EMBEDDING = "embedding"
PRESENT = "present"
SCORES = "scores"
TEXT_PARTS = ("ids", "mask")
SOURCE_KEYS = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node")  # that torch writes into an ONNX file
MAX_REASON = 160  # letters of an error of torch

Inputs = dict[str, Tensor]  # image, text.ids, text.mask ... and present.MODALITY
Outputs = dict[str, Tensor]  # embedding and scores.TASK
Parts = Mapping[str, Mapping[str, Tensor]]  # stored parts, by modality and name
Export = Callable[[nn.Module, tuple[Any, ...]], object]


class Tensors(TypedDict):
    """An input or output of a model: its type, and its sizes, names where they vary."""

    dtype: str
    shape: list[int | str]


class Graph(nn.Module):
    """The model of a run with all that stands around it: conversion of stored values before, scores after.

    Args:
        predictor: of the run.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.model = predictor.model
        self.predictor = predictor

    def forward(self, inputs: Inputs) -> Outputs:
        """Predict some rows.

        Args:
            inputs: stored parts, as `name_inputs` names them.

        Returns:
            `embedding` [B, D], and `scores.TASK` [B, C] of each task.
        """
        batch = self.build_batch(inputs)
        embedding = self.predictor.embed(batch)
        outputs = {EMBEDDING: embedding.float()}
        for name, output in self.predictor.apply_head(embedding).items():
            outputs[f"{SCORES}.{name}"] = self.predictor.tasks[name].scores(output)
        return outputs

    def build_batch(self, inputs: Inputs) -> Batch:
        """Return named tensors as the batch that the model reads.

        Args:
            inputs: stored parts, as `name_inputs` names them.
        """
        by_modality: dict[str, Input] = {}
        present: dict[str, Tensor] = {}
        for modality, spec in self.predictor.modalities.items():
            parts = {name: convert_stored(inputs[name_part(modality, name)]) for name in spec["parts"]}
            by_modality[modality] = parts[""] if list(parts) == [""] else parts
            present[modality] = inputs[f"{PRESENT}.{modality}"]
        return Batch(by_modality, present, {}, torch.empty(0))


def name_part(modality: str, part: str) -> str:
    """Return the name of an input: `image`, or `text.ids`.

    Args:
        modality: its name.
        part: of its stored parts; "" where there is only one.
    """
    return f"{modality}.{part}" if part else modality


def name_inputs(parts: Parts, present: Mapping[str, Tensor]) -> Inputs:
    """Return the inputs of a graph by name.

    Args:
        parts: [B, ...], by modality and name.
        present: [B] bool, by modality.
    """
    inputs: Inputs = {}
    for modality, stored in parts.items():
        inputs |= {name_part(modality, name): part for name, part in stored.items()}
    return inputs | {f"{PRESENT}.{modality}": mask for modality, mask in present.items()}


def trace(graph: Graph, inputs: Inputs) -> ExportedProgram:
    """Trace a graph for any number of rows, and for any length of its texts where their encoders allow it.

    Args:
        graph: in eval mode.
        inputs: of at least two rows; one would be taken for a constant.

    Raises:
        RunError: a part of the model cannot be traced; it is named.
    """
    texts = [modality for modality, spec in graph.predictor.modalities.items() if spec["kind"] == "text"]
    program = _trace(graph, inputs, texts)
    shapes = list_shapes(program, inputs)
    free = [text for text in texts if not any(isinstance(shapes[f"{text}.{part}"][1], int) for part in TEXT_PARTS)]
    return program if free == texts else _trace(graph, inputs, free)


def _trace(graph: Graph, inputs: Inputs, texts: Sequence[str]) -> ExportedProgram:
    """Trace a graph for any number of rows, and for any length of some texts if torch finds that possible."""
    free_names = [f"{text}.{part}" for text in texts for part in TEXT_PARTS]

    def choose_sizes(path: tuple[Any, ...], _: Tensor) -> dict[int, Any]:
        is_free = any(getattr(key, "key", None) in free_names for key in path)
        return {0: batch, 1: Dim.AUTO} if is_free else {0: batch}

    def export(module: nn.Module, arguments: tuple[Any, ...]) -> ExportedProgram:
        sizes = tree_map_with_path(choose_sizes, arguments)
        with torch.no_grad(), without_messages():
            return torch.export.export(module, arguments, dynamic_shapes=sizes)

    batch = Dim("batch")
    return cast(ExportedProgram, name_failing_part("torch.export", export, graph, inputs))


def list_shapes(program: ExportedProgram, inputs: Inputs) -> dict[str, list[int | str]]:
    """Return the shape of each input by name: `batch` and `length` where sizes are free.

    Args:
        program: traced.
        inputs: that it was traced with.
    """
    by_name = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    shapes: dict[str, list[int | str]] = {}
    for name, placeholder in zip(inputs, program.graph_signature.user_inputs, strict=True):
        sizes: list[int | str] = []
        for axis, size in enumerate(by_name[str(placeholder)]):
            sizes.append(int(size) if is_concrete_int(size) else ("length" if axis else "batch"))
        shapes[name] = sizes
    return shapes


def describe_inputs(program: ExportedProgram, inputs: Inputs) -> dict[str, Tensors]:
    """Return the type and the sizes of each input by name.

    Args:
        program: traced.
        inputs: that it was traced with.
    """
    described: dict[str, Tensors] = {}
    for name, shape in list_shapes(program, inputs).items():
        described[name] = {"dtype": str(inputs[name].numpy().dtype), "shape": shape}
    return described


def save_onnx(program: ExportedProgram, graph: Graph, inputs: Inputs, path: Path) -> None:
    """Save a traced graph as ONNX.

    Args:
        program: traced from `graph`.
        graph: whose parts are tried one by one if it fails.
        inputs: that it was traced with.
        path: written.

    Raises:
        RunError: a part of the model cannot be translated; it is named.
    """

    outputs = [EMBEDDING, *(f"{SCORES}.{name}" for name in graph.predictor.tasks)]

    def export(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        with torch.no_grad(), without_messages():
            if module is graph:
                translated = _translate(program, input_names=list(inputs), output_names=outputs)
                _rename(translated, [*inputs, *outputs])
            else:
                translated = _translate(torch.export.export(module, arguments))
        replace_transforms(translated.model.graph)
        _drop_sources(translated.model)
        translated.save(str(path))  # one file, unless it is larger than the 2 GB that ONNX allows
        open_session(path)  # which fails where onnxruntime lacks an operator

    name_failing_part("ONNX", export, graph, inputs)


def _translate(program: ExportedProgram, **names: list[str]) -> Any:
    return torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]


def _drop_sources(model: Any) -> None:
    """Drop the lines of code that each node comes from, with their paths on this machine; keep names of modules."""
    model.graph.metadata_props.clear()
    for node in model.graph:
        for key in SOURCE_KEYS:
            node.metadata_props.pop(key, None)


def _rename(translated: Any, names: Sequence[str]) -> None:
    """Call the first axis `batch`, the length of a text `MODALITY.length`, and no inner value as an input or output."""
    model = translated.model
    axes: dict[Any, str] = {}
    for value in model.graph.inputs:
        modality = value.name.partition(".")[0]
        for axis, size in enumerate(value.shape):
            if not isinstance(size, int):
                axes.setdefault(size, "batch" if axis == 0 else f"{modality}.length")
    translated.rename_axes(axes)
    outer = {id(value) for value in model.graph.outputs}
    for node in model.graph:
        for value in node.outputs:
            if value.name in names and id(value) not in outer:
                value.name = f"{value.name}.inner"


def name_failing_part(what: str, export: Export, graph: Graph, inputs: Inputs) -> Any:
    """Export the graph; if that fails, export its parts one by one to name the first that cannot be.

    The error of the whole graph is often about a tensor, and does not say which part of the model made it.

    Args:
        what: exports, for the message.
        export: a module with its arguments.
        graph: the whole, and of which parts.
        inputs: of the graph.

    Returns:
        What `export` returns for the graph.

    Raises:
        RunError: it cannot be exported.
    """
    try:
        return export(graph, (inputs,))
    except Exception as error:  # torch raises many classes, also its own assertions
        whole = error
    for name, module, arguments in _iterate_parts(graph, inputs):
        try:
            export(module, arguments)
        except Exception as error:
            raise RunError(_describe_failure(name, type(module).__name__, what, error)) from None
    raise RunError(_describe_failure("the model", type(graph.model).__name__, what, whole)) from None


def _iterate_parts(graph: Graph, inputs: Inputs) -> Iterator[tuple[str, nn.Module, tuple[Any, ...]]]:
    """Yield the name of each part of the model, the part, and its arguments."""
    batch = graph.build_batch(inputs)
    for modality, encoder in graph.model.encoder.items():
        yield f"encoder.{modality}", encoder, (batch.inputs[modality],)
    with torch.no_grad():
        features = graph.model.encode(batch.inputs)
    yield "fusion", graph.model.fusion, (features, batch.present)


def _describe_failure(name: str, class_name: str, what: str, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = (lines or [type(error).__name__])[0]
    reason = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}..."
    return f"{name} ({class_name}): cannot be exported by {what}: {reason}"


@contextmanager
def without_messages() -> Iterator[None]:
    """Silence warnings and logs of exporters and quantizers, which are about their own code."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
