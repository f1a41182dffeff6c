"""Heat over pictures and behind series."""

import numpy as np
from PIL import Image

from mmrun.deploy.explain.pictures import OPPOSES, SUPPORTS, draw_series, overlay, tint, to_image


def test_heat_lies_where_the_values_are():
    heat = np.zeros((64, 64))
    heat[:32, 32:], heat[32:, :32] = 1, -1
    pixels = np.asarray(overlay(Image.new("RGB", (64, 64), "white"), heat, (128, 128), opacity=1.0)).astype(int)
    corners = pixels[20, 100], pixels[100, 20], pixels[20, 20]
    assert np.abs(corners[0] - SUPPORTS).max() < 60
    assert np.abs(corners[1] - OPPOSES).max() < 60
    assert np.ptp(corners[2]) == 0  # grey


def test_pictures_of_any_number_of_channels_are_shown():
    for channels in (1, 2, 3, 4, 7):
        image = to_image(np.full((channels, 4, 6), 0.5))
        assert (image.size, image.getpixel((0, 0))) == ((6, 4), (128, 128, 128))


def test_colours_tell_sign_and_strength():
    assert tint(0.5, 1.0, 1.0) == "rgba(213,94,0,0.375)"
    assert tint(-1.0, 1.0, 0.5) == "rgba(0,114,178,0.375)"
    assert tint(0.0, 0.0, 1.0) == "rgba(0,114,178,0.000)"


def test_a_long_series_of_many_channels_becomes_a_small_drawing():
    drawing = draw_series(np.random.default_rng(0).normal(size=(9, 5000)), np.ones((9, 5000)), 1.0)
    assert (drawing.count("<polyline"), drawing.count("<rect")) == (6, 96)
    assert len(drawing) < 60_000
    assert draw_series(np.zeros((1, 0)), np.zeros((1, 0)), 1.0).count("<polyline") == 0
