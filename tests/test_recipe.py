"""Runs with pretrained encoders get their usual learning rates and warm-up, unless the user chose others."""

import shlex
from pathlib import Path

import pytest

from mmrun import compose
from mmrun.errors import ConfigError
from mmrun.recipe import describe_recipe
from mmrun.run.build import build_model, build_optimizer, resolve_stages
from mmrun.run.checks import check
from mmrun.run.data import open_data

ROOT = Path(__file__).parents[1]
DIGITS = ("dataset=digits", "modalities=[image,text]")


@pytest.fixture
def clip(tiny_model):
    """Overrides that choose a tiny CLIP."""
    return *DIGITS, "model=clip", f"model.path={tiny_model('clip')}"


def test_pretrained_transformers_and_convolutions_have_their_usual_rates(clip):
    config = compose.load([*DIGITS, "encoder.image=timm", "encoder.image.model=resnet18", "encoder.text=hf"])
    assert config.encoder_lr == {"image": 1e-4, "text": 2e-5}
    assert config.strategy.stages["train"].warmup == 0.1
    assert compose.load([*DIGITS, "encoder.image=timm", "encoder.image.model=vit_tiny_patch16_224"]).encoder_lr == {
        "image": 2e-5
    }
    assert compose.load(list(clip)).encoder_lr == {"image": 2e-5, "text": 2e-5}


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["encoder.text=hf", "encoder.text.pretrained=false"],
        ["encoder.text=hf", "optimizer=sgd"],
        ["encoder.text=hf", "strategy=lora"],
    ],
)
def test_runs_without_pretrained_encoders_stay_as_they_are(overrides):
    config = compose.load([*DIGITS, *overrides])
    assert config.encoder_lr is None
    assert {stage.warmup for stage in config.strategy.stages.values()} == {0.05}


def test_the_pretrained_weights_of_a_fusion_learn_at_the_rate_of_transformers(tiny_model):
    flava = [*DIGITS, "model=flava", f"model.path={tiny_model('flava')}"]
    config = compose.load(flava)
    assert config.strategy.stages["train"].lr_scale == {"fusion.net": 2e-5 / 1e-3}
    assert "text at 2e-05, the fusion at 2e-05; the rest at 0.001" in describe_recipe(config)[0]
    assert compose.load([*flava, "fusion.pretrained=false"]).strategy.stages["train"].lr_scale == {}
    typed = compose.load([*flava, "strategy.stages.train.lr_scale={head: 0.5}"])
    assert typed.strategy.stages["train"].lr_scale == {"head": 0.5}


def test_what_the_user_types_counts(clip):
    config = compose.load([*clip, "encoder_lr=null", "strategy.stages.train.warmup=0.05"])
    assert (config.encoder_lr, config.strategy.stages["train"].warmup) == (None, 0.05)
    assert compose.load([*clip, "encoder_lr.text=1e-3"]).encoder_lr == {"image": 2e-5, "text": 1e-3}
    assert compose.load([*DIGITS, "encoder_lr.text=1e-3"]).encoder_lr == {"text": 1e-3}
    with pytest.raises(ConfigError, match=r"^encoder_lr: the run reads no 'txt'; did you mean 'text'\? \(it reads"):
        compose.load([*DIGITS, "encoder_lr.txt=1e-3"])


def test_encoders_without_an_adapter_learn_at_the_rate_of_pretrained_ones(clip):
    adapted = [*clip, "strategy=lora"]
    assert compose.load(adapted).encoder_lr is None
    assert compose.load([*adapted, "strategy.adapt_modalities=[image]"]).encoder_lr == {"text": 2e-5}
    with pytest.raises(
        ConfigError, match=r"^strategy\.adapt_modalities: the run reads no 'imge'; did you mean 'image'\?"
    ):
        compose.load([*adapted, "strategy.adapt_modalities=[imge]"])
    with pytest.raises(
        ConfigError, match=r"^strategy\.adapt_modalities: the strategy has no adapter; add strategy.adapt"
    ):
        compose.load([*clip, "strategy.adapt_modalities=[image]"])


def test_the_rates_reach_the_optimizer(clip):
    config = compose.load([*clip, "strategy.stages.train.lr=0.002"])
    data = open_data(config)
    model = build_model(config, data)
    stage = resolve_stages(config, model)["train"]
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if name in stage.trainable]
    optimizer = build_optimizer(config, stage, model, trainable)
    rates = {id(parameter): group["base_lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates[id(model.encoder["image"].net.projection.weight)] == pytest.approx(2e-5)
    assert rates[id(model.head["label"].weight)] == 0.002


RECIPES = [
    line.strip() for line in (ROOT / "docs" / "recipes.md").read_text().splitlines() if "    mmrun train" in line
]


@pytest.mark.parametrize("command", RECIPES, ids=range(1, 11))
def test_every_recipe_of_the_docs_can_be_trained(command, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("MODEL", tiny_model("clip")))[2:]
    sweep = words[1:] if words[0] == "-m" else words
    for overrides in compose.expand_sweep([*sweep, f"cache={tmp_path}"]):
        check(compose.load(overrides))


def test_a_line_says_what_is_changed(clip):
    assert describe_recipe(compose.load([*clip, "strategy=holistic"])) == [
        "model=clip takes the place of the pre-training stage; strategy=holistic_pretrain keeps it",
        "pretrained encoders learn slower (image at 2e-05, text at 2e-05; the rest at 0.001), warm-up is 10%; "
        "encoder_lr.MODALITY and strategy.stages.STAGE.warmup change it",
    ]
    assert describe_recipe(compose.load(DIGITS)) == []


def test_encoders_that_no_stage_trains_are_not_said_to_learn(clip):
    assert describe_recipe(compose.load([*clip, "strategy=frozen"])) == []
    [line] = describe_recipe(
        compose.load([*clip, "strategy=frozen", "strategy.stages.train.train=[encoder.text,head]"])
    )
    assert line.startswith("pretrained encoders learn slower (text at 2e-05; ")
