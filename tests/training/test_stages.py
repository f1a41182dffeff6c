import pytest
import torch
from torch import nn

from mmrun import compose
from mmrun.config import StageConfig, StrategyConfig
from mmrun.errors import ConfigError
from mmrun.training.stages import (
    expand_stages,
    layer_depths,
    lr_decays,
    matches,
    parameter_groups,
    parameters_without_weight_decay,
    relative_heights,
    trainable_parameters,
)

NAMES = ["encoder.image.conv.weight", "encoder.text.embed.weight", "fusion.project.weight", "head.label.weight"]


def stage(**config):
    (only,) = expand_stages(StrategyConfig({"train": StageConfig(**config)}), ["image", "text"])
    return only


def test_a_stage_for_each_modality_becomes_one_copy_each_and_divides_its_share():
    strategy = StrategyConfig(
        {
            "pretrain": StageConfig(for_each="modality", train=["encoder.{modality}"], share=1.0),
            "finetune": StageConfig(train=["encoder", "head"], share=3.0),
        }
    )
    told = [
        (s.name, s.modalities, s.config.train, s.share, s.reads) for s in expand_stages(strategy, ["image", "text"])
    ]
    assert told == [
        ("pretrain-image", ("image",), ["encoder.image"], 0.125, 0.5),
        ("pretrain-text", ("text",), ["encoder.text"], 0.125, 0.5),
        ("finetune", ("image", "text"), ["encoder", "head"], 0.75, 1.0),
    ]


def test_a_glob_names_what_lies_below_it_and_nothing_beside_it():
    assert matches("encoder.image.conv.weight", "encoder")
    assert matches("encoder.image.conv.weight", "encoder.image")
    assert matches("encoder.image.conv.weight", "encoder.*.conv")
    assert matches("encoder.image.conv.weight", "*.weight")
    assert not matches("encoder.image2.conv.weight", "encoder.image")


def test_trainable_names_the_parameters_that_learn():
    assert trainable_parameters(NAMES, stage(train=["encoder.text", "head"])) == {
        "encoder.text.embed.weight",
        "head.label.weight",
    }


def test_a_glob_that_names_nothing_is_an_error():
    with pytest.raises(ConfigError) as error:
        trainable_parameters(NAMES, stage(train=["encoder", "encodr.text"]))
    assert str(error.value) == (
        "strategy.stages.train.train: 'encodr.text' matches no parameter "
        "(the model has encoder.image, encoder.text, fusion.project, head.label)"
    )
    with pytest.raises(ConfigError, match=r"lr_scale: 'fusion' matches no parameter that this stage trains"):
        trainable_parameters(NAMES, stage(train=["encoder"], lr_scale={"fusion": 0.1}))


def test_a_part_without_parameters_may_be_named_but_not_alone():
    assert trainable_parameters(NAMES, stage(train=["encoder.pca", "head"]), ["encoder.pca"]) == {"head.label.weight"}
    with pytest.raises(ConfigError) as error:
        trainable_parameters(NAMES, stage(train=["encoder.pca"]), ["encoder.pca"])
    assert str(error.value) == (
        "strategy.stages.train.train: encoder.pca has no parameters, so there is nothing to train; "
        "choose another encoder"
    )


def test_learning_rates_are_scaled_by_the_last_glob_that_matches():
    named = [(name, nn.Parameter()) for name in NAMES]
    groups = parameter_groups(named, {"encoder": 0.1, "encoder.text": 0.5}, lr=1.0)
    told = [(group["base_lr"], len(group["params"])) for group in groups]
    assert told == [(0.1, 1), (0.5, 1), (1.0, 2)]


def test_shares_are_divided_by_their_sum():
    strategy = StrategyConfig({name: StageConfig(train=["head"]) for name in "abcd"})
    assert [s.share for s in expand_stages(strategy, ["image"])] == [0.25] * 4


def test_levels_go_by_the_order_of_modules_within_an_encoder():
    names = [
        "encoder.a.low.weight",
        "encoder.a.low.bias",
        "encoder.a.high.weight",
        "encoder.b.only.weight",
        "head.x.weight",
    ]
    assert list(relative_heights(names).values()) == [0.5, 0.5, 1.0, 1.0, 1.0]
    assert trainable_parameters(names, stage(train=["encoder", "head"], unfreeze_top=0.5)) == set(names[2:])


class Transformer(nn.Module):
    """A stem, two blocks and a final norm."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1))
        self.stem = nn.Linear(1, 1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)) for _ in range(2))
        self.norm = nn.LayerNorm(1)


def test_layers_are_blocks_and_what_stands_before_and_after_them():
    assert layer_depths(Transformer()) == {
        **dict.fromkeys(["position", "stem.weight", "stem.bias"], 4),
        **dict.fromkeys([f"blocks.0.{n}.{p}" for n in "01" for p in ("weight", "bias")], 3),
        **dict.fromkeys([f"blocks.1.{n}.{p}" for n in "01" for p in ("weight", "bias")], 2),
        **dict.fromkeys(["norm.weight", "norm.bias"], 1),
    }
    recurrent = nn.ModuleDict({"embedding": nn.Embedding(2, 1), "rnn": nn.GRU(1, 1, bias=False)})
    assert list(layer_depths(recurrent).values()) == [2, 1, 1]


def test_layer_decay_is_the_factor_from_one_layer_to_the_next():
    """As timm's param_groups_layer_decay: 0.75 leaves 0.75^4 of the rate to the stem of a model of four layers."""
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"a": Transformer()}), "head": nn.Linear(1, 1)})
    groups = parameter_groups(model.named_parameters(), {"head": 2.0}, lr=1.0, decays=lr_decays(model, 0.75))
    rates = [(group["base_lr"], len(group["params"])) for group in groups]
    assert rates == [(0.75**4, 3), (0.75**3, 4), (0.75**2, 4), (0.75, 2), (2.0, 2)]


def test_biases_norms_and_embeddings_are_not_decayed():
    model = nn.ModuleDict({"words": nn.Embedding(3, 2), "blocks": Transformer(), "last": nn.Linear(2, 2)})
    model.register_parameter("class_token", nn.Parameter(torch.zeros(1, 1, 2)))
    exempt = parameters_without_weight_decay(model, model.named_parameters())
    decayed = {name for name, _ in model.named_parameters()} - exempt
    blocks = {f"blocks.blocks.{block}.{layer}.weight" for block in "01" for layer in "01"}
    assert decayed == {"blocks.stem.weight", *blocks, "last.weight"}
    groups = parameter_groups(model.named_parameters(), {}, lr=1.0, without_weight_decay=exempt)
    assert [(group.get("weight_decay"), len(group["params"])) for group in groups] == [(0.0, len(exempt)), (None, 6)]


@pytest.mark.parametrize("key", ["unfreeze_top", "layer_decay"])
def test_a_share_that_is_none_is_refused(key):
    with pytest.raises(ConfigError, match=f"strategy.stages.train.{key}: 0 is not a number above 0 and up to 1"):
        compose.load([f"strategy.stages.train.{key}=0"])
