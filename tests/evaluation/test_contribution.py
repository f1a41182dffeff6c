import itertools

import numpy as np
import pytest

from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS
from mmrun.evaluation.contribution import (
    build_condition,
    compute_synergy,
    enumerate_conditions,
    enumerate_subsets,
    shapley_values,
)

ABC = ["a", "b", "c"]


def game(value):
    return {subset: float(value(set(subset))) for subset in [(), *enumerate_subsets(ABC)]}


def test_all_subsets_that_are_not_empty():
    assert enumerate_subsets(ABC) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert [len(enumerate_subsets(list(range(size)))) for size in (1, 2, 5)] == [1, 3, 31]
    assert len(list(enumerate_conditions(ABC))) == 3 * 7


def test_a_fill_policy_replaces_the_missing_modalities():
    assert build_condition(("a", "c"), ABC, "absent") == {"a": CLEAN, "c": CLEAN}
    assert build_condition(("a", "c"), ABC, "zeros") == {"a": CLEAN, "b": ZEROS, "c": CLEAN}
    assert build_condition(("b",), ABC, "shuffled") == {"a": SHUFFLED, "b": CLEAN, "c": SHUFFLED}


def test_the_shapley_values_of_independent_modalities_are_their_gains():
    gains = {"a": 0.1, "b": 0.3, "c": -0.2}
    values = shapley_values(game(lambda s: 0.5 + sum(gains[m] for m in s)), ABC)
    assert values == pytest.approx(gains)


def test_the_glove_game():
    """One left glove, two right ones, a pair has the value 1: the textbook's result is 2/3, 1/6, 1/6."""
    values = shapley_values(game(lambda s: "a" in s and bool(s & {"b", "c"})), ABC)
    assert values == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


def test_redundancy_and_synergy_are_shared_evenly():
    assert shapley_values(game(lambda s: len(s) > 0), ABC) == pytest.approx(dict.fromkeys(ABC, 1 / 3))
    assert shapley_values(game(lambda s: len(s) == 3), ABC) == pytest.approx(dict.fromkeys(ABC, 1 / 3))


def test_shapley_values_are_mean_gains_over_all_orders_and_sum_to_the_value_of_all():
    rng = np.random.default_rng(0)
    metric = game(lambda s: rng.random())
    values = shapley_values(metric, ABC)
    gains = dict.fromkeys(ABC, 0.0)
    for order in itertools.permutations(ABC):
        for position, modality in enumerate(order):
            before, after = (tuple(sorted(order[:end])) for end in (position, position + 1))
            gains[modality] += (metric[after] - metric[before]) / 6
    assert values == pytest.approx(gains, abs=1e-12)
    assert sum(values.values()) == pytest.approx(metric["a", "b", "c"] - metric[()], abs=1e-12)


def test_a_fusion_that_adds_nothing_is_flagged():
    assert compute_synergy(0.9, {"a": 0.6, "b": 0.75}, "some run") == {
        "fused": 0.9,
        "alone": {"a": 0.6, "b": 0.75},
        "best": "b",
        "gap": pytest.approx(0.15),
        "flagged": False,
        "ceilings": "some run",
    }
    assert compute_synergy(0.5, {"a": 0.5, "b": 0.4}, "")["flagged"]
    assert not compute_synergy(0.5, {"a": 0.5}, "")["flagged"]  # only one modality, nothing was fused
    assert compute_synergy(0.5, {"a": 0.6, "b": 0.4}, "")["gap"] == pytest.approx(-0.1)
