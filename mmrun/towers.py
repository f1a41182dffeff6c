"""Pretrained multimodal models of transformers: which towers each family has, and what a folder says of their inputs.

A tower encodes one modality, and its projection maps the result into a space that it shares with the other towers.
Nothing here imports torch: a config is composed with it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmrun.errors import ConfigError, nearest
from mmrun.hub import fetch

REMEDY = "set model.path to a local folder that holds such a model"


class Tower(NamedTuple):
    """Where a family keeps one of its towers, and the sizes that its config leaves out where they are the usual ones.

    Attributes:
        section: of config.json.
        module: attribute of the loaded model.
        projection: attribute of the loaded model; None: the tower projects by itself.
        size: H = W in pixels, or the longest text in tokens; None: neither.
    """

    section: str
    module: str
    projection: str | None
    size: int | None = None


# By model_type of config.json and kind of the modality
FAMILIES = {
    "clip": {
        "image": Tower("vision_config", "vision_model", "visual_projection", 224),
        "text": Tower("text_config", "text_model", "text_projection", 77),
    },
    "siglip": {
        "image": Tower("vision_config", "vision_model", None, 224),
        "text": Tower("text_config", "text_model", None, 64),
    },
    "flava": {
        "image": Tower("image_config", "image_model", "image_projection", 224),
        "text": Tower("text_config", "text_model", "text_projection", 512),
    },
    "clap": {
        "audio": Tower("audio_config", "audio_model", "audio_projection"),
        "text": Tower("text_config", "text_model", "text_projection", 514),
    },
}
SIZES = {"image": "image_size", "text": "max_position_embeddings"}  # keys of a section of config.json
NUM_RESERVED = {"clap": 2}  # positions that RoBERTa, CLAP's text model, does not use
SHORTEST = 8  # tokens that "auto" chooses for texts, at least


def override_encoders(model: Mapping[str, str | None], kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Make the towers of a pretrained model encoders, whose inputs are preprocessed as the model expects.

    Args:
        model: the node `model` of a config: family, path, and by kind of a tower the modality that the user chose.
        kinds: of the modalities that the run reads.

    Returns:
        Overrides by the path of the encoder: encoder.image.

    Raises:
        ConfigError: there is no such family or model, or a tower has no modality or several.
    """
    overrides = {}
    modalities = assign_towers(model, kinds)
    preprocessing = read_preprocessing(str(model["family"]), str(model["path"]))
    for modality, kind in modalities.items():
        path = f"encoder.{modality}"
        sizes = [f"{path}.preprocess.{key}={value}" for key, value in preprocessing[kind].items()]
        overrides[path] = [f"{path}=tower", f"{path}.model=${{model.path}}", *sizes]
    return overrides


def assign_towers(model: Mapping[str, str | None], kinds: Mapping[str, str]) -> dict[str, str]:
    """Choose the modality that each tower of a pretrained model reads.

    Args:
        model: the node `model` of a config: family, path, and by kind of a tower the modality that the user chose.
        kinds: of the modalities that the run reads.

    Returns:
        Kinds of towers by modality.

    Raises:
        ConfigError: there is no such family, or a tower has no modality or several.
    """
    family = str(model.get("family"))
    if family not in FAMILIES:
        raise ConfigError(f"model.family: no '{family}'{nearest(family, FAMILIES)} (there are {', '.join(FAMILIES)})")
    towers = {}
    for kind in FAMILIES[family]:
        towers[_choose_modality(family, kind, model.get(kind), kinds)] = kind
    return towers


def _choose_modality(family: str, kind: str, chosen: str | None, kinds: Mapping[str, str]) -> str:
    names = [modality for modality, its_kind in kinds.items() if its_kind == kind]
    described = ", ".join(f"{modality} ({its_kind})" for modality, its_kind in kinds.items())
    if not names:
        others = [other for other in FAMILIES[family] if other != kind and other in kinds.values()]
        remedy = f"; encoder.MODALITY=tower takes its {others[0]} tower alone" if others else ""
        raise ConfigError(f"model: {family} has a tower for {kind}, but the run reads no {kind} ({described}){remedy}")
    if chosen is None and len(names) > 1:
        raise ConfigError(
            f"model.{kind}: {family} has one tower for {kind}, but the run reads several ({', '.join(names)}); choose "
            f"the modality that it reads: model.{kind}={names[0]}"
        )
    if chosen is not None and chosen not in names:
        raise ConfigError(
            f"model.{kind}: the run reads no {kind} '{chosen}'{nearest(str(chosen), names)} (it reads {described})"
        )
    return names[0] if chosen is None else chosen


def read_preprocessing(family: str, path: str) -> dict[str, dict[str, object]]:
    """Read how the inputs of a pretrained model are preprocessed.

    Args:
        family: that the folder must hold.
        path: name on the hub, or a local folder.

    Returns:
        By kind, keys of `preprocess`.

    Raises:
        ConfigError: the config is neither cached nor reachable, is damaged, or is that of another family.
    """
    config = fetch(lambda local_only: _read_config(path, local_only), path, REMEDY, what="the config of")
    check_family(str(config.get("model_type")), family, path)
    preprocessing: dict[str, dict[str, object]] = {}
    for kind, tower in FAMILIES[family].items():
        preprocessing[kind] = {}
        if tower.size is None:
            continue
        section = config.get(tower.section)
        size = section.get(SIZES[kind], tower.size) if isinstance(section, Mapping) else tower.size
        if type(size) is not int or size < 1:
            raise ConfigError(f"{path}: {tower.section}.{SIZES[kind]} of config.json is not a size; {REMEDY}")
        if kind == "image":
            preprocessing[kind] = {"size": size}
        else:
            longest = max(1, size - NUM_RESERVED.get(family, 0))
            preprocessing[kind] = {"auto_range": [min(SHORTEST, longest), longest]}
    return preprocessing


def check_family(model_type: str, family: str, path: str) -> None:
    """Reject a model of another family.

    Args:
        model_type: of its config.json.
        family: that is expected.
        path: of the model.

    Raises:
        ConfigError: they differ.
    """
    if model_type == family:
        return
    remedy = f"choose model={model_type}" if model_type in FAMILIES else REMEDY
    raise ConfigError(f"model.path: {path} holds a model of type {model_type}, not {family}; {remedy}")


def _read_config(path: str, local_only: bool) -> Mapping[str, Any]:
    """Return the content of a config.json, without running or importing what it names."""
    file = Path(path) / "config.json"
    if not Path(path).is_dir():
        from huggingface_hub import hf_hub_download

        file = Path(hf_hub_download(path, "config.json", local_files_only=local_only))
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("config.json is nested too deeply") from None
    if not isinstance(config, Mapping):
        raise ValueError("config.json is not a mapping")
    return config
