"""The steps of compressing a model: data, each applied by one function."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.compress.clusters import share_weights
from mmrun.models.compress.depth import drop_blocks
from mmrun.models.compress.filters import prune_filters
from mmrun.models.compress.heads import prune_heads
from mmrun.models.compress.int8 import Quantization
from mmrun.models.compress.low_rank import factorize
from mmrun.models.compress.magnitude import prune_weights
from mmrun.models.compress.quantize import quantize_layers, split_attentions
from mmrun.models.compress.record import Drop
from mmrun.models.multimodal import Multimodal
from mmrun.types import Batch, Encoder, Input

Part = tuple[str, nn.Module]  # its name in the model, and the module


class Step(NamedTuple):
    """One step.

    Attributes:
        method: of METHODS.
        amount: a share that is removed, or a number of clusters.
    """

    method: str
    amount: float

    def __str__(self) -> str:
        return f"{self.method}={self.amount:g}"


@dataclass
class Material:
    """What steps work on.

    Attributes:
        model: in eval mode; changed in place.
        batch: a few rows that can be predicted.
        compute_gradients: returns the gradients of the loss by parameter, or none; called before each choice.
        drops: blocks that were dropped so far.
        notes: what could not be done, one line each.
    """

    model: Multimodal
    batch: Batch
    compute_gradients: Callable[[], Mapping[str, Tensor]]
    drops: list[Drop] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def encoders(self) -> dict[str, Encoder]:
        """By modality, those that have parameters."""
        encoders = cast(Mapping[str, Encoder], self.model.encoder)
        return {name: encoder for name, encoder in encoders.items() if any(True for _ in encoder.parameters())}


def apply_steps(material: Material, steps: Iterable[Step]) -> None:
    """Compress a model.

    Args:
        material: its model is changed in place.
        steps: in their order.

    Raises:
        ConfigError: a step would change nothing.
    """
    for step in steps:
        changes = dict(METHODS[step.method](material, step.amount))
        unchanged = [part for part, count in changes.items() if count == 0]
        if len(unchanged) == len(changes):
            raise ConfigError(
                f"{step}: changes nothing, {EXPLANATIONS[step.method]} (the encoders are "
                f"{_describe_encoders(material)}); leave it out, or choose another method"
            )
        if unchanged:
            material.notes.append(f"{step}: {', '.join(unchanged)} stays as it is, {EXPLANATIONS[step.method]}")


def _describe_encoders(material: Material) -> str:
    return ", ".join(f"{modality} ({type(encoder).__name__})" for modality, encoder in material.encoders.items())


def quantize(material: Material, quantization: Quantization, rows: Callable[[], Iterable[Batch]]) -> list[str]:
    """Let the layers of encoders and fusion compute in 8 bits; nothing can be trained afterwards.

    Args:
        material: its model is changed in place.
        quantization: how.
        rows: returns those of calibration, which static mode reads.

    Returns:
        The encoders that stay in fp32.

    Raises:
        ConfigError: all of them would.
    """

    def forward() -> None:
        for batch in rows():
            material.model(batch)

    for encoder in material.encoders.values():
        split_attentions(encoder)
    names = quantize_layers(_get_body(material), quantization, forward)
    if not names:
        raise ConfigError(
            f"--quantize int8: changes nothing, as neither encoders ({_describe_encoders(material)}) nor fusion have a "
            "convolution or linear layer; leave it out"
        )
    encoders = [f"encoder.{modality}" for modality in material.encoders]
    return [encoder for encoder in encoders if not any(name.startswith(f"{encoder}.") for name in names)]


# -------------------------------------------------------------------------- methods: how much changed, by part


def _prune_weights(material: Material, share: float, per_layer: bool) -> Iterator[tuple[str, int]]:
    body = _get_body(material)
    prune_weights(body, share, per_layer)
    yield "the model", int(sum((weight == 0).sum() for weight in body.parameters()))


def _prune_filters(material: Material, share: float) -> Iterator[tuple[str, int]]:
    model, gradients = material.model, material.compute_gradients()
    narrowed = prune_filters(model, partial(_compute_outputs, material), share, gradients)
    if not narrowed:  # a fusion that cannot be traced hides the encoders, which are then traced alone
        for modality, encoder in material.encoders.items():
            prefix = f"encoder.{modality}"
            forward = partial(_compute_features, encoder, material.batch.inputs[modality])
            layers = prune_filters(encoder, forward, share, _select(gradients, prefix))
            narrowed += [f"{prefix}.{name}" for name in layers]
    with torch.no_grad():
        features = model.encode(material.batch.inputs)
        for modality, encoder in material.encoders.items():
            encoder.dim = features[modality].pooled.shape[1]
        model.fusion.dim = model.fusion(features, material.batch.present).shape[1]
    for modality in material.encoders:
        yield f"encoder.{modality}", sum(name.startswith(f"encoder.{modality}.") for name in narrowed)


def _compute_outputs(material: Material) -> list[Tensor]:
    """Return all outputs, those of probes too, with all modalities and without each."""
    model, batch = material.model, material.batch
    features = model.encode(batch.inputs)
    outputs = list(model.forward_head(model.fusion(features, batch.present)).values())
    for modality, mask in batch.present.items():
        outputs += model.forward_probe(modality, features[modality].pooled).values()
        if len(batch.present) > 1:
            present = {**batch.present, modality: torch.zeros_like(mask)}
            outputs += model.forward_head(model.fusion(features, present)).values()
    return outputs


def _compute_features(encoder: Encoder, x: Input) -> list[Tensor]:
    features = encoder(x)
    return [part for part in (features.pooled, features.tokens) if part is not None]


def _prune_heads(material: Material, share: float) -> Iterator[tuple[str, int]]:
    gradients = material.compute_gradients()
    for modality, encoder in material.encoders.items():
        yield f"encoder.{modality}", prune_heads(encoder, share, _select(gradients, f"encoder.{modality}"))


def _drop_layers(material: Material, share: float) -> Iterator[tuple[str, int]]:
    for modality, encoder in material.encoders.items():
        drops = drop_blocks(encoder, share, partial(encoder, material.batch.inputs[modality]))
        for drop in drops:
            material.drops.append({**drop, "container": f"encoder.{modality}.{drop['container']}"})
        yield f"encoder.{modality}", sum(len(drop["children"]) for drop in drops)


def _factorize(material: Material, share: float) -> Iterator[tuple[str, int]]:
    yield "the model", factorize(_get_body(material), share)


def _share_weights(material: Material, clusters: float) -> Iterator[tuple[str, int]]:
    yield "the model", share_weights(material.model, int(clusters))


def _get_body(material: Material) -> nn.Module:
    """Return encoders and fusion: without heads and probes, which are small and decide."""
    return nn.ModuleDict({"encoder": material.model.encoder, "fusion": material.model.fusion})


def _select(gradients: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in gradients.items() if name.startswith(prefix)}


METHODS: dict[str, Callable[[Material, float], Iterator[tuple[str, int]]]] = {
    "prune": partial(_prune_weights, per_layer=False),
    "prune_per_layer": partial(_prune_weights, per_layer=True),
    "prune_filters": _prune_filters,
    "prune_heads": _prune_heads,
    "drop_layers": _drop_layers,
    "low_rank": _factorize,
    "cluster": _share_weights,
}
EXPLANATIONS = {  # why a method may find nothing
    "prune": "as it has too few weights",
    "prune_per_layer": "as its layers have too few weights",
    "prune_filters": "as only filters and hidden units between two layers can go, and not the width of the features",
    "prune_heads": "as only heads of torch's MultiheadAttention can go",
    "drop_layers": "as only residual and transformer blocks that keep the shape of their input can go",
    "low_rank": "as it has no linear layer or convolution that two smaller ones can replace",
    "cluster": "as its layers have too few weights for so many clusters",
}
