import pytest

from mmrun.evaluation.conditions import CLEAN, Given
from mmrun.evaluation.robustness import SEVERITIES, Point, curves, effective, points, relative

FALLING = [1.0, 0.9, 0.8, 0.6, 0.2]  # 1 - severity


def test_relative_robustness_is_the_mean_over_the_severities():
    assert SEVERITIES == (0.0, 0.1, 0.2, 0.4, 0.8)
    assert relative([0.7] * 5) == pytest.approx(0.7)
    assert relative(FALLING) == pytest.approx(0.6)


def test_effective_robustness_is_what_is_kept_beyond_a_baseline_of_the_same_clean_figure():
    assert effective(FALLING, [value - 0.3 for value in FALLING]) == pytest.approx(0.0)
    assert effective([1.0] * 5, FALLING) == pytest.approx(0.4)
    assert effective(FALLING, [0.5] * 5) == pytest.approx(-0.4)


def test_every_corruption_of_every_modality_has_its_points():
    asked = dict(points({"photo": "image", "sound": "audio"}))
    assert len(asked) == 3 * 5 * 2
    assert asked[Point("photo", "occlusion", 0.2, False)] == {"photo": Given("occlusion", 0.2), "sound": CLEAN}
    assert asked[Point("photo", "occlusion", 0.2, True)] == {"photo": Given("occlusion", 0.2)}
    assert asked[Point("sound", "white_noise", 0.0, False)] == {"photo": CLEAN, "sound": CLEAN}


def test_the_points_become_curves_and_a_number_for_each_modality():
    figures = {}
    for corruption, fused in (("gaussian", FALLING), ("occlusion", [1.0] * 5)):
        for severity, value in zip(SEVERITIES, fused, strict=True):
            figures[Point("photo", corruption, severity, False)] = {"accuracy": value}
            figures[Point("photo", corruption, severity, True)] = {"accuracy": FALLING[SEVERITIES.index(severity)]}
    told = curves(figures, ["accuracy"])
    assert told["severities"] == [0.0, 0.1, 0.2, 0.4, 0.8]
    photo = told["metrics"]["accuracy"]["photo"]
    assert photo["relative"] == pytest.approx(0.8)
    assert photo["effective"] == pytest.approx(0.2)
    assert photo["curves"]["gaussian"]["fused"] == FALLING
    assert photo["curves"]["occlusion"]["relative"] == pytest.approx(1.0)
