import pytest

from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.fusions.simple import Concat

CONCAT = {"_target_": "mmrun.models.fusions.simple.Concat", "dim": 8}


def test_offered_arguments_fill_what_the_signature_names():
    fusion = instantiate(CONCAT, "fusion", {"dims": {"a": 4}, "num_outputs": 3})
    assert isinstance(fusion, Concat)
    assert fusion.dim == 8


def test_the_config_has_the_last_word_over_what_is_offered():
    fusion = instantiate({**CONCAT, "dims": {"a": 2}}, "fusion", {"dims": {"a": 4}})
    assert next(fusion.parameters()).shape[1] == 2


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({**CONCAT, "dimm": 4}, "fusion.dimm: mmrun.models.fusions.simple.Concat takes no such argument; did you mean"),
        (CONCAT, "fusion: mmrun.models.fusions.simple.Concat needs 'dims', which is not given here"),
        ({"_target_": "mmrun.models.fusions.simple.Konkat"}, "fusion._target_: mmrun.models.fusions.simple.Konkat: "),
        ({"dim": 8}, "fusion._target_: None is not in mmrun.models.fusions"),
    ],
)
def test_a_node_that_cannot_be_built_is_an_error_with_its_key(node, message):
    with pytest.raises(ConfigError) as raised:
        instantiate(node, "fusion")
    assert str(raised.value).startswith(message)


def test_a_node_inside_a_node_is_built_later():
    mixup = {
        "_target_": "mmrun.objectives.mixup.MixUp",
        "task": {"_target_": "mmrun.objectives.task.Task"},
        "alpha": 0.2,
    }
    objective = instantiate(mixup, "strategy.stages.train.objective", {"tasks": {}, "kinds": {}})
    assert type(objective.task).__name__ == "Task"


def test_a_node_inside_a_node_is_offered_the_same_optional_arguments():
    moco = {
        "_target_": "mmrun.objectives.moco.Moco",
        "view": {"_target_": "mmrun.objectives.augmentations.text.AugmentText", "drop": 0.5},
    }
    pretext = instantiate(moco, "objective.by_kind.text", {"dim": 4, "mask_id": 7})
    assert pretext.view.mask_id == 7
