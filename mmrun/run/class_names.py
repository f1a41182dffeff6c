"""Heads made of the names of classes: zero-shot classifiers, and heads that a strategy builds from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmrun.config import RunConfig
from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import CLASSES, Column
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.fusions.aligned import Aligned
from mmrun.models.multimodal import Multimodal, name_parameters
from mmrun.results.schema import ClassTokens
from mmrun.run.data import Data
from mmrun.types import Fusion

PLACEHOLDER = "{class}"
USUAL_PROMPT = "{class}."  # of the names that a head of the strategy reads
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
    texts = list_prompts(prompt, data, "head.prompt")
    _check_fusion(model.fusion, "head.prompt")
    source = _find_model(config.encoder, "head.prompt")
    for key, name in name_parameters(data.tasks).items():
        head = model.head[key]
        assert isinstance(head, nn.Linear)
        weight = embed_texts(source, texts[name])
        if weight.shape != head.weight.shape:
            raise ConfigError(
                f"head.prompt: the space of {source} has {weight.shape[1]} dimensions, and the fused vector "
                f"{model.fusion.dim}; list the towers in modalities=[A,B]"
            )
        with torch.no_grad():
            head.weight.copy_(weight)
            head.bias.zero_()


def tokenize_class_names(config: RunConfig, data: Data) -> dict[str, ClassTokens]:
    """Tokenize the names of classes for the heads that the strategy chooses.

    Args:
        config: `strategy.head`, `head.prompt`, and the encoders.
        data: names of the classes.

    Returns:
        By task; empty where the strategy leaves the heads to the fusion.

    Raises:
        ConfigError: the prompt has no place for a name, the encoders are not aligned, a target has no names, or a name
            has no tokens.
    """
    if config.strategy.head is None:
        return {}
    source = _find_model(config.encoder, "strategy.head")
    texts = list_prompts(config.head.prompt or USUAL_PROMPT, data, "strategy.head")
    return {name: tokenize(source, texts[name]) for name in data.tasks}


def build_heads(
    config: RunConfig, fusion: Fusion, class_tokens: Mapping[str, ClassTokens]
) -> dict[str, nn.Module] | None:
    """Build the heads that the strategy chooses in place of those of the fusion.

    Args:
        config: `strategy.head`, and the encoders.
        fusion: of the model.
        class_tokens: what `tokenize_class_names` returned, by task.

    Returns:
        By task; None where the strategy leaves them to the fusion.

    Raises:
        ConfigError: the fusion is not aligned, or a head does not fit it.
    """
    if config.strategy.head is None:
        return None
    _check_fusion(fusion, "strategy.head")
    source = _find_model(config.encoder, "strategy.head")
    heads = {}
    for name, tokens in class_tokens.items():
        optional_kwargs = {"dim": fusion.dim, "model": source, **tokens}
        heads[name] = instantiate(config.strategy.head, "strategy.head", optional_kwargs)
    return heads


def list_prompts(prompt: str, data: Data, key_path: str) -> dict[str, list[str]]:
    """Return the text that stands for each class.

    Args:
        prompt: in which {class} stands for the name.
        data: names of the classes.
        key_path: what needs them, for error messages.

    Returns:
        By task, in the order of the outputs.

    Raises:
        ConfigError: the prompt has no place for a name, or a target has no names.
    """
    if PLACEHOLDER not in prompt:
        raise ConfigError(f"head.prompt: '{prompt}' has no {PLACEHOLDER}, for example 'a photo of a {PLACEHOLDER}'")
    texts = {}
    for name in data.tasks:
        target = data.table.targets[name]
        if not target.names or target.task not in (*CLASSES, "multilabel"):
            remedy = "leave head.prompt out" if key_path == "head.prompt" else "choose another strategy"
            raise ConfigError(f"{key_path}: target '{name}' has no classes with names; {remedy}")
        texts[name] = [prompt.replace(PLACEHOLDER, label) for label in target.names]
    return texts


def tokenize(model: str, texts: Sequence[str]) -> ClassTokens:
    """Tokenize texts as the text tower of a pretrained model reads them.

    Args:
        model: name on the hub, or a local folder.
        texts: of the classes.

    Raises:
        ConfigError: the tokenizer cannot be loaded, or a text has no tokens.
    """
    from tokenizers import Tokenizer

    tokens = Tokens(tokenizer=model)
    tokens.fit(Column("text", list(texts)), np.arange(len(texts)))
    metadata: dict[str, Any] = tokens.metadata
    tokenizer = Tokenizer.from_str(metadata["tokenizer"])  # which neither truncates nor pads
    encoded = [tokenizer.encode(text) for text in texts]
    for text, encoding in zip(texts, encoded, strict=True):
        if all(encoding.special_tokens_mask):
            raise ConfigError(f"head.prompt: '{text}' has no tokens in {model}; rename the class, or add words")
    return {
        "class_ids": [encoding.ids for encoding in encoded],
        "prefix_length": encoded[0].special_tokens_mask.index(0),
        "pad_id": metadata["pad_id"],
    }


def embed_texts(model: str, texts: Sequence[str]) -> Tensor:
    """Embed texts with the text tower of a pretrained model.

    Their length is the scale of the model's own training, so that a softmax over the products with normalised vectors
    gives the probabilities that the model was trained for.

    Args:
        model: name on the hub, or a local folder.
        texts: of the classes.

    Returns:
        Weights [C, D].

    Raises:
        ConfigError: the model or its tokenizer cannot be loaded, it has no text tower, or cannot read so many tokens.
    """
    tokens = tokenize(model, texts)
    rows = [torch.tensor(ids) for ids in tokens["class_ids"]]
    ids = pad_sequence(rows, batch_first=True, padding_value=tokens["pad_id"])
    mask = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
    from mmrun.models.encoders.hf_towers import TextTower  # imports transformers, which most runs do not need

    tower = TextTower(model, int(ids.max()) + 1, ids.shape[1], tokens["pad_id"]).eval()
    with torch.no_grad():
        pooled = tower({"ids": ids, "mask": mask}).pooled
    return F.normalize(pooled, dim=1) * tower.net.scale


def _check_fusion(fusion: Fusion, key_path: str) -> None:
    """Reject a fusion that leaves the space of the towers."""
    if not isinstance(fusion, Aligned):
        raise ConfigError(f"{key_path}: compares rows with class names in the space of the towers; add fusion=aligned")


def _find_model(encoders: Mapping[str, Mapping[str, Any]], key_path: str) -> str:
    """Return the pretrained model whose towers the encoders are."""
    towers = {name: node for name, node in encoders.items() if str(node["_target_"]).startswith(TOWERS)}
    for name, node in towers.items():
        if node.get("pretrained") is False:
            raise ConfigError(
                f"{key_path}: encoder.{name} starts from random weights, which nothing aligned with class names; "
                f"remove encoder.{name}.pretrained=false"
            )
    models = {str(node["model"]) for node in towers.values()}
    if len(models) != 1:
        described = f"towers of several models ({', '.join(sorted(models))})" if models else "no tower"
        raise ConfigError(
            f"{key_path}: needs towers that one model aligned, but the encoders are {described}; add model=clip"
        )
    return models.pop()
