import pytest
import torch
from torchvision.transforms import functional

from mmrun.objectives.augmentations.trivial import OPERATIONS, TrivialAugment, apply_operations, equalize

IN_BYTES = (torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 200 + 20).round() / 255


def apply(name, level, sign=1, x=IN_BYTES):
    drawn = torch.full((len(x),), OPERATIONS.index(name))
    return apply_operations(x, drawn, torch.full((len(x),), level), torch.full((len(x),), sign))


def to_bytes(x):
    return (x * 255).round().to(torch.uint8)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("autocontrast", "equalize")])
def test_the_weakest_strength_changes_nothing(name):
    assert torch.allclose(apply(name, 0.0), IN_BYTES, atol=1e-5)


REFERENCE = {  # the same operations of torchvision, on bytes
    ("brightness", 1): lambda x: functional.adjust_brightness(x, 1.99),
    ("brightness", -1): lambda x: functional.adjust_brightness(x, 0.01),
    ("color", 1): lambda x: functional.adjust_saturation(x, 1.99),
    ("contrast", -1): lambda x: functional.adjust_contrast(x, 0.01),
    ("posterize", 1): lambda x: functional.posterize(x, 2),
    ("solarize", 1): lambda x: functional.solarize(x, 0),
    ("autocontrast", 1): functional.autocontrast,
    ("equalize", 1): functional.equalize,
}


@pytest.mark.parametrize(("name", "sign"), REFERENCE)
def test_the_strongest_is_that_of_torchvision(name, sign):
    expected = REFERENCE[name, sign](to_bytes(IN_BYTES)).int()
    assert (to_bytes(apply(name, 1.0, sign)).int() - expected).abs().max() <= 2  # it rounds between its steps


def test_sharpness_is_that_of_torchvision_off_the_border():
    expected = functional.adjust_sharpness(to_bytes(IN_BYTES), 1.99).int()
    difference = (to_bytes(apply("sharpness", 1.0)).int() - expected).abs()
    assert difference[..., 1:-1, 1:-1].max() <= 2


def test_images_move_as_far_as_in_the_paper():
    across = (torch.arange(224.0).expand(1, 1, 224, 224)) / 255
    column = (apply("translate_x", 1.0, x=across) * 255)[0, 0, 112, 100]
    assert column.item() == pytest.approx(132, abs=0.1)  # 32 pixels
    sheared = apply("shear_x", 1.0, x=across) * 255
    slope = sheared[0, 0, 122, 112] - sheared[0, 0, 112, 112]
    assert slope.item() == pytest.approx(9.9, abs=0.1)
    turned = apply("rotate", 1.0, x=across) * 255
    assert (turned[0, 0, 112, 122] - turned[0, 0, 112, 112]).item() == pytest.approx(-7.07, abs=0.1)  # 10 cos 135


def test_all_operations_are_drawn_equally_often_one_an_image():
    torch.manual_seed(0)
    x = IN_BYTES[:1].expand(2800, -1, -1, -1)
    unchanged = (TrivialAugment()(x) - x).abs().amax((1, 2, 3)) < 1e-3
    # identity, and of 31 strengths the neutral one of eleven others
    assert unchanged.float().mean().item() == pytest.approx(1 / 14 + 11 / 14 / 31, abs=0.02)


def test_a_flat_channel_stays_as_it_is():
    flat = torch.full((1, 1, 4, 4), 0.4)
    assert equalize(flat).equal(flat)
    assert apply("autocontrast", 1.0, x=flat).equal(flat)


def test_grey_images_have_no_colour_to_change():
    grey = IN_BYTES[:, :1]
    assert torch.allclose(apply("color", 1.0, x=grey), grey)
