"""Fourier transforms of an ONNX model as convolutions, which onnxruntime computes faster and more accurately.

Its operator STFT takes 1.5 times as long as a convolution for windows of 256 samples, and 6 times as long where the
window is no power of two (its error is then 1e-3). The kernels are computed when a session is opened: they would
otherwise be most of the file.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    import onnx_ir

KERNELS = ".kernels"  # what their names end in
LARGEST_WINDOW = 512  # samples; the fast transform of a longer one is faster, if it is a power of two


def replace_transforms(graph: "onnx_ir.Graph") -> None:
    """Replace the STFT operators of a graph, in place; those of long windows stay."""
    import onnx_ir

    for node in list(graph):
        if node.op_type != "STFT":
            continue
        signal, hop, window, length = node.inputs
        num_samples, stride = _read_number(length), _read_number(hop)
        is_power = num_samples & (num_samples - 1) == 0
        if num_samples % 4 or window is None or (is_power and num_samples > LARGEST_WINDOW):
            continue
        [spectrum] = node.outputs
        added, kernels = _build_convolution(onnx_ir, signal, window, num_samples, stride)
        kernels.name = f"{node.name}{KERNELS}"
        for number, new in enumerate(added):
            new.name = f"{node.name}.{number}"
            if new.op_type == "Conv":  # quantization reads which module it comes from
                new.metadata_props.update(node.metadata_props)
        last = added[-1].outputs[0]
        last.shape, last.dtype = spectrum.shape, spectrum.dtype
        graph.insert_before(node, added)
        onnx_ir.convenience.replace_all_uses_with(spectrum, last)
        graph.remove(node, safe=True)
        for value in (hop, length):
            if value is not None and value.name and value.is_initializer() and not value.uses():
                graph.initializers.pop(value.name)


def _read_number(value: Any) -> int:
    return int(value.const_value.numpy())


def _build_convolution(ir: Any, signal: Any, window: Any, num_samples: int, stride: int) -> tuple[list[Any], Any]:
    """Return the nodes that compute the spectrum [B, frames, frequencies, 2] of a signal [B, S, 1], and the kernels."""
    num_frequencies = num_samples // 2 + 1
    frequencies = np.tile(np.arange(num_frequencies), 2)[:, None]
    quarter = np.repeat([0, num_samples // 4], num_frequencies)[:, None]  # -sin(x) is cos(x + a quarter of a turn)
    cosines = np.cos(2 * np.pi * np.arange(num_samples) / num_samples).astype(np.float32)
    nodes: list[Any] = []

    def add(operator: str, *inputs: Any, **attributes: Any) -> Any:
        nodes.append(ir.node(operator, list(inputs), attributes))
        return nodes[-1].outputs[0]

    def constant(array: Any) -> Any:
        return add("Constant", value=ir.tensor(np.asarray(array)))

    turns = add("Mul", constant(frequencies), constant(np.arange(num_samples)[None]))
    angles = add("Mod", add("Add", turns, constant(quarter)), constant(num_samples))
    kernels = add("Mul", add("Gather", constant(cosines), angles), window)
    kernels = add("Reshape", kernels, constant([2 * num_frequencies, 1, num_samples]))
    waves = add("Conv", add("Reshape", signal, constant([0, 1, -1])), kernels, strides=[stride])
    parts = add("Reshape", waves, constant([0, 2, num_frequencies, -1]))
    add("Transpose", parts, perm=[0, 3, 2, 1])
    return nodes, kernels


def restore_kernels(model: "onnx.ModelProto", exported: "onnx.ModelProto") -> None:
    """Replace the kernels that onnxruntime has stored in a model by the nodes that compute them, in place."""
    producers = {output: node for node in exported.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in exported.graph.initializer}
    stored = {tensor.name for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name.endswith(KERNELS)]:
        model.graph.initializer.remove(tensor)
        waiting = [tensor.name]
        while waiting:
            name = waiting.pop()
            if name in producers:
                nodes.append(producers[name])
                waiting += producers[name].input
            elif name not in stored:
                stored.add(name)
                model.graph.initializer.append(constants[name])
    nodes = [*reversed(nodes), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
