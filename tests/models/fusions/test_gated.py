"""Gates and FiLM compared with their formulas."""

import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.models.fusions.gated import Film, Gated, Mmtm
from tests.models.fusions.rows import DIMS, NO, make_rows, select_dims


def test_each_of_three_modalities_has_a_gate_of_its_own():
    x, features, present = make_rows("image", "text", "audio")
    module = Gated(DIMS, dim=5)
    concatenated = torch.cat([x["image"], x["text"], torch.zeros(2, 4)], dim=1)
    expected = torch.zeros(2, 5)
    for name in ("image", "text"):
        expected += torch.sigmoid(module.gate[name](concatenated)) * torch.tanh(module.project[name](x[name]))
    torch.testing.assert_close(module(features, {**present, "audio": NO}), expected)


def test_the_gate_of_two_modalities_is_a_sigmoid():
    x, features, present = make_rows("image", "text")
    module = Gated(select_dims("image", "text"), dim=5)
    concatenated = torch.cat([x["image"], x["text"]], dim=1)
    z = torch.sigmoid(module.gate["image"](concatenated) - module.gate["text"](concatenated))
    image, text = (torch.tanh(module.project[name](x[name])) for name in x)
    torch.testing.assert_close(module(features, present), z * image + (1 - z) * text)
    torch.testing.assert_close(module(features, {**present, "text": NO}), image)


def test_film_scales_and_shifts_the_named_modality():
    x, features, present = make_rows("image", "text")
    module = Film(select_dims("image", "text"), dim=5, modulated="text")
    text = module.project["text"](x["text"])
    scale, shift = module.scale["image"](x["image"]), module.shift["image"](x["image"])
    torch.testing.assert_close(module(features, present), F.relu((1 + scale) * text + shift))
    torch.testing.assert_close(module(features, {**present, "image": NO}), F.relu(text))
    torch.testing.assert_close(module(features, {**present, "text": NO}), F.relu(shift))


def test_mmtm_excites_the_channels_of_each_modality_by_what_all_say():
    x, features, present = make_rows("image", "text")
    module = Mmtm(select_dims("image", "text"), dim=5, ratio=2)
    joint = F.relu(module.squeeze(torch.cat([x["image"], x["text"]], dim=1)))
    assert joint.shape == (2, 5)  # 2 * (3 + 2) / 2
    excited = [2 * torch.sigmoid(module.excite[name](joint)) * x[name] for name in x]
    torch.testing.assert_close(module(features, present), F.relu(module.project(torch.cat(excited, dim=1))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Film(DIMS, modulated="video"),
            "fusion.modulated: 'video' is none of the modalities image, text, audio",
        ),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
