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
        size: H = W in pixels, positions of a text model, or seconds of sound.
        multimodal_projection: attribute of the loaded model, for its multimodal encoder; None: it has none.
    """

    section: str
    module: str
    projection: str | None
    size: int
    multimodal_projection: str | None = None


_IMAGE = Tower("vision_config", "vision_model", "visual_projection", 224)

# By model_type of config.json and kind of the modality
FAMILIES = {
    "clip": {"image": _IMAGE, "text": Tower("text_config", "text_model", "text_projection", 77)},
    "metaclip_2": {"image": _IMAGE, "text": Tower("text_config", "text_model", "text_projection", 77)},
    "chinese_clip": {"image": _IMAGE, "text": Tower("text_config", "text_model", "text_projection", 512)},
    "altclip": {"image": _IMAGE, "text": Tower("text_config", "text_model", "text_projection", 514)},
    "vision-text-dual-encoder": {
        "image": _IMAGE,
        "text": Tower("text_config", "text_model", "text_projection", 512),
    },
    "siglip": {
        "image": Tower("vision_config", "vision_model", None, 224),
        "text": Tower("text_config", "text_model", None, 64),
    },
    "flava": {
        "image": Tower("image_config", "image_model", "image_projection", 224, "image_to_mm_projection"),
        "text": Tower("text_config", "text_model", "text_projection", 512, "text_to_mm_projection"),
    },
    "clap": {
        "audio": Tower("audio_config", "audio_model", "audio_projection", 10),
        "text": Tower("text_config", "text_model", "text_projection", 514),
    },
}
# Text models, by model_type, that count positions from the id of the padding on
ROBERTA = ("roberta", "xlm-roberta", "camembert", "clap_text_model", "altclip_text_model")
FUSIONS = {"flava": "flava"}  # the fusion that the multimodal encoder of a family is
SAMPLE_RATE = 48_000  # Hz, of CLAP
SHORTEST = 8  # tokens that "auto" chooses for texts, at least


def override_fusion(model: Mapping[str, str | None], chosen: str | None) -> list[str]:
    """Make the multimodal encoder of a pretrained model the fusion, unless the user chose another one.

    Args:
        model: the node `model` of a config.
        chosen: the fusion that the user or an experiment chose, if any.

    Returns:
        Overrides; none for a model without a multimodal encoder.
    """
    fusion = FUSIONS.get(str(model.get("family")))
    if fusion is None or chosen not in (None, fusion):
        return []
    return [f"fusion={fusion}", "fusion.model=${model.path}"]


def override_encoders(
    model: Mapping[str, str | None], kinds: Mapping[str, str], is_fused: bool = False
) -> dict[str, list[str]]:
    """Make the towers of a pretrained model encoders, whose inputs are preprocessed as the model expects.

    Args:
        model: the node `model` of a config: family, path, and by kind of a tower the modality that the user chose.
        kinds: of the modalities that the run reads.
        is_fused: whether the multimodal encoder of the model is the fusion, so that towers project for it.

    Returns:
        Overrides by the path of the encoder: encoder.image.

    Raises:
        ConfigError: there is no such family or model, no path is given, or a tower has no modality or several.
    """
    if model.get("path") is None:
        raise ConfigError(f"model.path: model={model.get('family')} has no usual one; add model.path=NAME_OR_FOLDER")
    overrides = {}
    modalities = assign_towers(model, kinds)
    preprocessing = read_preprocessing(str(model["family"]), str(model["path"]))
    for modality, kind in modalities.items():
        path = f"encoder.{modality}"
        sizes = [f"{path}.preprocess.{key}={value}" for key, value in preprocessing[kind].items()]
        overrides[path] = [f"{path}=tower", f"{path}.model=${{model.path}}", *sizes]
        if is_fused:
            overrides[path].append(f"{path}.projection=multimodal")
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
        ConfigError: the files are neither cached nor reachable, are damaged, or are those of another family.
    """
    config = _read_json(path, "config.json")
    check_family(str(config.get("model_type")), family, path)
    preprocessing: dict[str, dict[str, object]] = {}
    for kind, tower in FAMILIES[family].items():
        section = config.get(tower.section)
        sizes = _Sizes(section if isinstance(section, Mapping) else {}, f"{path}: {tower.section}")
        if kind == "image":
            preprocessing[kind] = {"size": sizes.read("image_size", tower.size)}
        elif kind == "text":
            is_roberta = sizes.values.get("model_type") in ROBERTA
            reserved = 1 + sizes.read("pad_token_id", 1, least=0) if is_roberta else 0
            longest = max(1, sizes.read("max_position_embeddings", tower.size) - reserved)
            preprocessing[kind] = {"auto_range": [min(SHORTEST, longest), longest]}
        else:
            sizes = _Sizes(_read_json(path, "preprocessor_config.json"), f"{path}: preprocessor_config.json")
            seconds = sizes.read("max_length_s", tower.size)
            preprocessing[kind] = {
                "sample_rate": sizes.read("sampling_rate", SAMPLE_RATE),
                "auto_range": [min(1, seconds), seconds],
            }
    return preprocessing


class _Sizes(NamedTuple):
    """Whole numbers of a file that may come from someone else."""

    values: Mapping[str, Any]
    place: str

    def read(self, key: str, default: int, least: int = 1) -> int:
        size = self.values.get(key, default)
        if type(size) is not int or size < least:
            raise ConfigError(f"{self.place}.{key} is not a whole number from {least} on; {REMEDY}")
        return size


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


def _read_json(path: str, name: str) -> Mapping[str, Any]:
    """Return the content of a file of a pretrained model, without running or importing what it names."""
    return fetch(lambda local_only: _parse(_find_file(path, name, local_only)), path, REMEDY, what="the files of")


def _find_file(path: str, name: str, local_only: bool) -> Path:
    if Path(path).is_dir():
        return Path(path) / name
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(path, name, local_files_only=local_only))


def _parse(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{file.name} is nested too deeply") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{file.name} is not a mapping")
    return content
