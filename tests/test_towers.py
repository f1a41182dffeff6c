"""The choice `model=...`: which encoders it makes, and what it refuses before any data are decoded."""

import json
from pathlib import Path

import pytest

from mmrun import compose
from mmrun.errors import ConfigError

DIGITS = ("dataset=digits", "modalities=[image,text]")


def reject(*overrides):
    with pytest.raises(ConfigError) as caught:
        compose.load(overrides)
    return str(caught.value)


@pytest.fixture
def clip(tiny_model):
    """Overrides that choose a tiny CLIP."""
    return "model=clip", f"model.path={tiny_model('clip')}"


def test_towers_become_encoders_and_other_modalities_keep_their_own(clip, tiny_model):
    config = compose.load(["dataset=digits", *clip])
    assert list(config.encoder) == ["image", "audio", "text"]
    assert config.encoder["image"]["_target_"] == "mmrun.models.encoders.hf_towers.ImageTower"
    assert config.encoder["image"]["preprocess"]["size"] == 32
    assert config.encoder["text"]["preprocess"]["tokenizer"] == tiny_model("clip")
    assert config.encoder["text"]["preprocess"]["auto_range"] == [8, 77]
    assert config.choices["encoder.audio"] == "logmel_cnn"
    assert config.choices["model"] == "clip"


def test_clap_reads_sound_and_text_at_the_sizes_of_its_folder(tiny_model):
    config = compose.load(["dataset=digits", "model=clap", f"model.path={tiny_model('clap')}"])
    assert config.choices["encoder.image"] == "cnn"
    assert config.encoder["audio"]["preprocess"]["sample_rate"] == 16000
    assert config.encoder["audio"]["preprocess"]["auto_range"] == [1, 1]
    assert config.encoder["text"]["preprocess"]["auto_range"] == [8, 64]


def test_keys_of_a_tower_can_be_changed(clip):
    config = compose.load([*DIGITS, *clip, "encoder.image.preprocess.size=48", "encoder.text.grad_checkpointing=true"])
    assert config.encoder["image"]["preprocess"]["size"] == 48
    assert config.encoder["text"]["grad_checkpointing"] is True


def test_the_same_towers_chosen_one_by_one_are_the_same_run(clip, tiny_model):
    encoders = []
    for modality in ("image", "text"):
        encoders += [f"encoder.{modality}=tower", f"encoder.{modality}.model={tiny_model('clip')}"]
    apart = compose.load([*DIGITS, *encoders, "encoder.image.preprocess.size=32"])
    assert apart.encoder == compose.load([*DIGITS, *clip]).encoder


def test_the_multimodal_encoder_of_flava_is_the_fusion_unless_another_is_chosen(tiny_model):
    flava = ["dataset=digits", "model=flava", f"model.path={tiny_model('flava')}"]
    config = compose.load(flava)
    assert (config.choices["fusion"], config.fusion["model"]) == ("flava", tiny_model("flava"))
    assert [config.encoder[name]["projection"] for name in ("image", "text")] == ["multimodal", "multimodal"]
    for overrides in ([*flava, "fusion=concat"], ["fusion=aligned", *flava]):
        config = compose.load(overrides)
        assert "flava" not in config.choices["fusion"]
        assert [config.encoder[name]["projection"] for name in ("image", "text")] == ["aligned", "aligned"]


def test_a_path_without_a_family_is_told_what_to_add():
    assert reject(*DIGITS, "model.path=FOLDER") == (
        "no key 'model.path': model has no keys; "
        "add model=altclip|chinese_clip|clap|clip|flava|metaclip_2|siglip|vision-text-dual-encoder"
    )
    assert reject(*DIGITS, "balance.alpha=1").startswith(
        "no key 'balance.alpha': balance has no keys; add balance=agm|"
    )


def test_no_model_is_the_default_and_can_be_chosen_in_a_sweep():
    assert compose.load([*DIGITS, "model=none"]).model is None
    assert compose.load(DIGITS).model is None


def test_one_of_several_modalities_of_a_kind_is_chosen(clip):
    kinds = [*DIGITS[:1], "dataset.kinds={left: image, right: image}", "modalities=[left,right,text]", *clip]
    assert reject(*kinds) == (
        "model.image: clip has one tower for image, but the run reads several (left, right); choose the modality that "
        "it reads: model.image=left"
    )
    config = compose.load([*kinds, "model.image=right"])
    assert config.choices["encoder.left"] == "cnn"
    assert config.choices["encoder.right"] == "tower"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["modalities=[image,audio]"],
            "model: clip has a tower for text, but the run reads no text (image (image), audio (audio)); "
            "encoder.MODALITY=tower takes its image tower alone",
        ),
        (["modalities=[audio]"], "model: clip has a tower for image, but the run reads no image (audio (audio))"),
        (
            ["model.image=picture"],
            "model.image: the run reads no image 'picture' (it reads image (image), audio (audio), text (text))",
        ),
        (["encoder.text=gru"], "encoder.text=gru: encoder.text is a tower of model; leave one of the two out"),
        (["model.family=clop"], "model.family: no 'clop'; did you mean 'clip'? (there are clip, metaclip_2, "),
        (
            ["model=vision-text-dual-encoder", "model.path=null"],
            "model.path: model=vision-text-dual-encoder has no usual one; add model.path=NAME_OR_FOLDER",
        ),
        (["model.audio=audio"], "no key 'model.audio' (model has family, path, image, text)"),
        (["model.path=3"], "the files of 3 are not cached and the hub cannot be reached; set model.path to a local "),
    ],
)
def test_what_does_not_fit_the_model_is_refused(clip, overrides, message):
    assert reject("dataset=digits", *clip, *overrides).startswith(message)


def test_a_model_of_another_family_is_refused(tiny_model):
    siglip, wave = tiny_model("siglip"), tiny_model("wav2vec2")
    assert reject(*DIGITS, "model=clip", f"model.path={siglip}") == (
        f"model.path: {siglip} holds a model of type siglip, not clip; choose model=siglip"
    )
    assert reject(*DIGITS, "model=clip", f"model.path={wave}") == (
        f"model.path: {wave} holds a model of type wav2vec2, not clip; set model.path to a local folder that holds "
        "such a model"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("{", "Expecting property name"),
        ("[" * 100_000, "config.json is nested too deeply"),
        ("[]", "config.json is not a mapping"),
        (
            '{"model_type": "clip", "vision_config": {"image_size": "../../etc"}}',
            "vision_config.image_size is not a whole number from 1 on",
        ),
        (
            '{"model_type": "clip", "text_config": {"max_position_embeddings": -1}}',
            "text_config.max_position_embeddings is not",
        ),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    error = reject(*DIGITS, "model=clip", f"model.path={tmp_path}")
    assert str(tmp_path) in error
    assert message in error
    assert error.endswith("set model.path to a local folder that holds such a model")


def test_sizes_that_a_config_leaves_out_are_the_usual_ones(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": {}}))
    config = compose.load([*DIGITS, "model=clip", f"model.path={Path(tmp_path)}"])
    assert config.encoder["image"]["preprocess"]["size"] == 224
    assert config.encoder["text"]["preprocess"]["auto_range"] == [8, 77]
