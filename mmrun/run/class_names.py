"""Heads that start as zero-shot classifiers: their weights are the embedded names of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.config import RunConfig
from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.models.fusions.aligned import Aligned
from mmrun.models.multimodal import Multimodal, name_parameters
from mmrun.run.data import Data

PLACEHOLDER = "{class}"
TOWERS = ("mmrun.models.encoders.hf_towers.", "mmrun.models.encoders.hf_clap.")  # the beginnings of their `_target_`


def start_from_class_names(model: Multimodal, config: RunConfig, data: Data) -> None:
    """Set the weights of all heads to the embedded names of their classes (Radford et al., 2021).

    Args:
        model: whose towers one pretrained model aligned; its heads are filled in place.
        config: `head.prompt`, and the encoders.
        data: names of the classes.

    Raises:
        ConfigError: the prompt has no place for a name, the encoders or the fusion are not aligned, or a target has no
            names.
    """
    prompt = config.head.prompt
    assert prompt is not None
    if PLACEHOLDER not in prompt:
        raise ConfigError(f"head.prompt: '{prompt}' has no {PLACEHOLDER}, for example 'a photo of a {PLACEHOLDER}'")
    if not isinstance(model.fusion, Aligned):
        raise ConfigError("head.prompt: compares rows with class names in the space of the towers; add fusion=aligned")
    source = _find_model(config.encoder)
    for key, name in name_parameters(data.tasks).items():
        classes = data.table.targets[name].names
        head = model.head[key]
        if not classes:
            raise ConfigError(f"head.prompt: target '{name}' has no classes with names; leave head.prompt out")
        assert isinstance(head, nn.Linear)
        weight = embed_class_names(source, classes, prompt)
        if weight.shape != head.weight.shape:
            raise ConfigError(
                f"head.prompt: the space of {source} has {weight.shape[1]} dimensions, and the fused vector "
                f"{model.fusion.dim}; list the towers in modalities=[A,B]"
            )
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.zero_()


def embed_class_names(model: str, names: Sequence[str], prompt: str) -> Tensor:
    """Embed the names of classes with the text tower of a pretrained model.

    Their length is the scale of the model's own training, so that a softmax over the products with normalised vectors
    gives the probabilities that the model was trained for.

    Args:
        model: name on the hub, or a local folder.
        names: of the classes.
        prompt: the text of a class, in which {class} stands for its name.

    Returns:
        Weights [C, D].

    Raises:
        ConfigError: the model or its tokenizer cannot be loaded, or it has no text tower.
    """
    from mmrun.models.encoders.hf_towers import TextTower  # here: transformers takes seconds to import

    texts = [prompt.replace(PLACEHOLDER, name) for name in names]
    tokens = Tokens(tokenizer=model, auto_range=(8, 512))
    tokens.fit(Column("text", texts), np.arange(len(texts)))
    decoded = [tokens.decode(text) for text in texts]
    inputs = {part: torch.from_numpy(np.stack([row[part] for row in decoded])) for part in ("ids", "mask")}
    metadata: dict[str, Any] = tokens.metadata
    tower = TextTower(model, metadata["vocab_size"], metadata["max_tokens"], metadata["pad_id"]).eval()
    with torch.no_grad():
        pooled = tower({"ids": inputs["ids"].long(), "mask": inputs["mask"]}).pooled
    return F.normalize(pooled, dim=1) * tower.net.scale


def _find_model(encoders: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the pretrained model whose towers the encoders are."""
    models = {str(node["model"]) for node in encoders.values() if str(node["_target_"]).startswith(TOWERS)}
    if len(models) != 1:
        described = f"towers of several models ({', '.join(sorted(models))})" if models else "no tower"
        raise ConfigError(
            f"head.prompt: needs towers that one model aligned, but the encoders are {described}; add model=clip"
        )
    return models.pop()
