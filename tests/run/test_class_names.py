"""Heads made of class names: what CLIP itself would answer."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from mmrun import compose
from mmrun.errors import ConfigError, DamagedError
from mmrun.results.folder import RunFolder
from mmrun.run.build import build_model, build_uncompressed_model
from mmrun.run.class_names import embed_texts, tokenize
from mmrun.run.data import open_data

PROMPT = "head.prompt=a photo of a {class}"


def build(*overrides):
    config = compose.load(["dataset=digits", *overrides])
    return build_model(config, open_data(config))


@pytest.fixture
def clip(tiny_model):
    """Overrides that choose a tiny CLIP, and its image tower alone."""
    folder = tiny_model("clip")
    return "modalities=[image]", "encoder.image=tower", f"encoder.image.model={folder}", "fusion=aligned"


@pytest.mark.parametrize("family", ["clip", "altclip", "vision-text-dual-encoder", "siglip"])
def test_a_zero_shot_head_gives_the_probabilities_of_the_model_itself(tiny_model, clip, family):
    folder = tiny_model(family)
    model = build(*clip, f"encoder.image.model={folder}", "encoder.image.preprocess.size=32", PROMPT).eval()
    texts = [f"a photo of a {name}" for name in map(str, range(10))]
    tokenized = AutoTokenizer.from_pretrained(folder)(texts, padding="max_length", return_tensors="pt")
    if family == "siglip":
        del tokenized["attention_mask"]
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        normalized = (pixels - model.encoder["image"].mean) / model.encoder["image"].std
        expected = AutoModel.from_pretrained(folder).eval()(**tokenized, pixel_values=normalized).logits_per_image
        features = model.encode({"image": pixels})
        outputs = model.forward_head(model.fusion(features, {"image": torch.ones(2, dtype=torch.bool)}))
    torch.testing.assert_close(outputs["label"].softmax(1), expected.softmax(1))


def test_a_run_without_its_class_names_says_which_file_is_missing(clip, tmp_path):
    config = compose.load(["dataset=digits", *clip, "strategy=prompt_tuning"])
    with pytest.raises(DamagedError) as raised:
        build_uncompressed_model(config, open_data(config), RunFolder(tmp_path))
    assert str(raised.value) == (
        f"{tmp_path}/fitted.json: is not there, and the head of this run is built from the class names in it; "
        "put the file back, or train the run again"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["head.prompt=a photo"], "head.prompt: 'a photo' has no {class}, for example 'a photo of a {class}'"),
        (
            [PROMPT, "fusion=concat"],
            "head.prompt: compares rows with class names in the space of the towers; add fusion=aligned",
        ),
        (
            [PROMPT, "encoder.image=cnn"],
            "head.prompt: needs towers that one model aligned, but the encoders are no tower; add model=clip",
        ),
        (
            [PROMPT, "encoder.image.pretrained=false"],
            "head.prompt: encoder.image starts from random weights, which nothing aligned with class names; remove "
            "encoder.image.pretrained=false",
        ),
    ],
)
def test_what_cannot_be_compared_with_class_names_is_refused(clip, overrides, message):
    keep = clip if "encoder.image=cnn" not in overrides else [clip[0], clip[3]]
    with pytest.raises(ConfigError) as caught:
        build(*keep, *overrides)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["fusion=concat"],
            "strategy.head: compares rows with class names in the space of the towers; add fusion=aligned",
        ),
        (
            ["encoder.image=cnn"],
            "strategy.head: needs towers that one model aligned, but the encoders are no tower; add model=clip",
        ),
        (["head.prompt=a photo"], "head.prompt: 'a photo' has no {class}, for example 'a photo of a {class}'"),
        (["strategy.head.context=0"], "strategy.head.context: 0 is not a whole number from 1 to 65536"),
    ],
)
def test_prompt_tuning_refuses_what_has_no_class_names_in_its_space(clip, overrides, message):
    keep = clip if "encoder.image=cnn" not in overrides else [clip[0], clip[3]]
    with pytest.raises(ConfigError) as caught:
        build(*keep, "strategy=prompt_tuning", *overrides)
    assert str(caught.value) == message


def test_towers_of_two_models_and_numbers_as_targets_are_refused(tiny_model, tmp_path):
    (tmp_path / "rows.csv").write_text("text,other,age,split\n" + "a b,c,1.5,train\nb,c,2.5,val\nc,c,3.5,test\n" * 2)
    manifest = ["dataset=manifest", f"dataset.path={tmp_path}/rows.csv", "dataset.columns={text:text,other:other}"]
    manifest += [
        "dataset.kinds={text:text,other:text}",
        "dataset.target=age",
        "dataset.task=regression",
        "fusion=aligned",
        "strategy=prompt_tuning",
    ]
    towers = [f"encoder.{name}=tower" for name in ("text", "other")]
    towers += [f"encoder.{name}.model={tiny_model('clip')}" for name in ("text", "other")]
    with pytest.raises(ConfigError, match=r"^strategy.head: target 'age' has no classes with names; choose another st"):
        build(*manifest, *towers)
    towers[-1] = f"encoder.other.model={tiny_model('flava')}"
    with pytest.raises(ConfigError, match=r"^strategy.head: needs .*but the encoders are towers of several models \("):
        build(*manifest, *towers)


def test_no_name_is_cut_however_rare_its_length(tiny_model):
    folder = tiny_model("clip")
    names = [*map(str, range(200)), "a name of forty letters and three spaces"]
    assert max(map(len, tokenize(folder, names)["class_ids"])) == 2 + 40
    alone = embed_texts(folder, names[-1:])
    torch.testing.assert_close(embed_texts(folder, names)[-1:], alone)


def test_a_class_without_a_token_is_refused(tiny_model):
    with pytest.raises(ConfigError, match=r"^head.prompt: '' has no tokens in .*; rename the class, or add words$"):
        tokenize(tiny_model("clip"), ["cat", ""])


def test_init_and_prompt_exclude_each_other():
    with pytest.raises(ConfigError, match=r"^head: both init and prompt are set; drop one of them$"):
        compose.load(["dataset=digits", PROMPT, "head.init=run:head"])
