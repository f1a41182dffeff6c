"""The choice of a pretext by kind: the YAML files, and overrides on the shell."""

import pytest

from mmrun.compose import list_options, load, load_option
from mmrun.instantiate import instantiate
from mmrun.objectives.pretext import Pretext
from mmrun.testing.examples import DIM, KINDS, METADATA

DEFAULT = load_option("objective", "self_supervised")
CHANGES = {
    "autoencoder": ("image", "autoencoder"),
    "vae": ("image", "vae"),
    "mae": ("image", "mae"),
    "simclr": ("image", "simclr"),
    "causal_lm": ("text", "causal_lm"),
    "contrastive_audio": ("audio", "contrastive_audio"),
    "scarf": ("tabular", "scarf"),
}


def test_every_kind_has_pretexts_and_each_can_be_built():
    assert set(DEFAULT["by_kind"]) == set(KINDS.values())
    for modality, kind in KINDS.items():
        names = list_options(f"pretext/{kind}")
        assert names
        for name in names:
            node = load_option(f"pretext/{kind}", name)
            assert isinstance(instantiate(node, "pretext", {"dim": DIM, **METADATA[modality]}), Pretext)


def test_every_pretext_has_an_objective():
    listed = {(kind, name) for kind in KINDS.values() for name in list_options(f"pretext/{kind}")}
    default = {
        (kind, name) for kind, name in listed if load_option(f"pretext/{kind}", name) == DEFAULT["by_kind"][kind]
    }
    assert set(CHANGES.values()) == listed - default


@pytest.mark.parametrize("name", CHANGES)
def test_an_objective_changes_one_kind_and_leaves_the_others(name):
    kind, pretext = CHANGES[name]
    expected = {**DEFAULT, "by_kind": {**DEFAULT["by_kind"], kind: load_option(f"pretext/{kind}", pretext)}}
    assert load_option("objective", name) == expected


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_chosen_on_the_shell(name):
    config = load(["strategy=component", f"strategy.stages.pretrain.objective={name}"])
    assert config.strategy.stages["pretrain"].objective == load_option("objective", name)


def test_two_kinds_are_chosen_on_the_shell():
    key_path = "strategy.stages.pretrain.objective"
    overrides = [
        f"{key_path}=simclr",
        f"pretext/text@{key_path}.by_kind.text=causal_lm",
        f"{key_path}.by_kind.image.flip=0",
    ]
    objective = load(["strategy=component", *overrides]).strategy.stages["pretrain"].objective
    assert objective["by_kind"]["image"] == {**load_option("pretext/image", "simclr"), "flip": 0}
    assert objective["by_kind"]["text"] == load_option("pretext/text", "causal_lm")
    assert objective["by_kind"]["audio"] == DEFAULT["by_kind"]["audio"]
