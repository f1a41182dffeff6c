import pytest

from mmrun.evaluation.conditions import CLEAN, Variant
from mmrun.evaluation.robustness import (
    SEVERITIES,
    Point,
    compute_robustness,
    effective_robustness,
    enumerate_points,
    relative_robustness,
)

FALLING = [1.0, 0.9, 0.8, 0.6, 0.2]  # 1 - severity


def test_relative_robustness_is_the_mean_over_the_severities():
    assert SEVERITIES == (0.0, 0.1, 0.2, 0.4, 0.8)
    assert relative_robustness([0.7] * 5) == pytest.approx(0.7)
    assert relative_robustness(FALLING) == pytest.approx(0.6)


def test_effective_robustness_is_the_distance_to_a_baseline_shifted_to_the_same_clean_metric():
    assert effective_robustness(FALLING, [value - 0.3 for value in FALLING]) == pytest.approx(0.0)
    assert effective_robustness([1.0] * 5, FALLING) == pytest.approx(0.4)
    assert effective_robustness(FALLING, [0.5] * 5) == pytest.approx(-0.4)


def test_every_corruption_of_every_modality_has_its_points():
    conditions = dict(enumerate_points({"photo": "image", "sound": "audio"}))
    assert len(conditions) == 3 * 5 * 2
    assert conditions[Point("photo", "occlusion", 0.2, False)] == {"photo": Variant("occlusion", 0.2), "sound": CLEAN}
    assert conditions[Point("photo", "occlusion", 0.2, True)] == {"photo": Variant("occlusion", 0.2)}
    assert conditions[Point("sound", "white_noise", 0.0, False)] == {"photo": CLEAN, "sound": CLEAN}


def test_the_points_become_curves_with_two_summary_values_per_modality():
    metrics = {}
    for corruption, fused in (("gaussian", FALLING), ("occlusion", [1.0] * 5)):
        for severity, value in zip(SEVERITIES, fused, strict=True):
            metrics[Point("photo", corruption, severity, False)] = {"accuracy": value}
            metrics[Point("photo", corruption, severity, True)] = {"accuracy": FALLING[SEVERITIES.index(severity)]}
    robustness = compute_robustness(metrics, ["accuracy"])
    assert robustness["severities"] == [0.0, 0.1, 0.2, 0.4, 0.8]
    photo = robustness["metrics"]["accuracy"]["photo"]
    assert photo["relative"] == pytest.approx(0.8)
    assert photo["effective"] == pytest.approx(0.2)
    assert photo["curves"]["gaussian"]["fused"] == FALLING
    assert photo["curves"]["occlusion"]["relative"] == pytest.approx(1.0)
