import itertools

import numpy as np
import pytest

from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS
from mmrun.evaluation.contribution import condition, matrix, shapley, subsets, synergy

ABC = ["a", "b", "c"]


def game(worth):
    return {subset: float(worth(set(subset))) for subset in [(), *subsets(ABC)]}


def test_all_subsets_that_hold_something():
    assert subsets(ABC) == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert [len(subsets(list(range(size)))) for size in (1, 2, 5)] == [1, 3, 31]
    assert len(list(matrix(ABC))) == 3 * 7


def test_what_stands_in_the_place_of_the_others():
    assert condition(("a", "c"), ABC, "absent") == {"a": CLEAN, "c": CLEAN}
    assert condition(("a", "c"), ABC, "zeros") == {"a": CLEAN, "b": ZEROS, "c": CLEAN}
    assert condition(("b",), ABC, "shuffled") == {"a": SHUFFLED, "b": CLEAN, "c": SHUFFLED}


def test_modalities_that_add_up_are_worth_what_they_add():
    worth = {"a": 0.1, "b": 0.3, "c": -0.2}
    found = shapley(game(lambda s: 0.5 + sum(worth[m] for m in s)), ABC)
    assert found == pytest.approx(worth)


def test_the_glove_game():
    """One left glove, two right ones, a pair is worth 1: the textbook's answer is 2/3, 1/6, 1/6."""
    found = shapley(game(lambda s: "a" in s and bool(s & {"b", "c"})), ABC)
    assert found == pytest.approx({"a": 2 / 3, "b": 1 / 6, "c": 1 / 6})


def test_redundancy_and_synergy_are_shared_evenly():
    assert shapley(game(lambda s: len(s) > 0), ABC) == pytest.approx(dict.fromkeys(ABC, 1 / 3))
    assert shapley(game(lambda s: len(s) == 3), ABC) == pytest.approx(dict.fromkeys(ABC, 1 / 3))


def test_it_is_the_mean_gain_over_all_orders_and_sums_to_the_whole():
    rng = np.random.default_rng(0)
    value = game(lambda s: rng.random())
    found = shapley(value, ABC)
    gains = dict.fromkeys(ABC, 0.0)
    for order in itertools.permutations(ABC):
        for place, modality in enumerate(order):
            before, after = (tuple(sorted(order[:end])) for end in (place, place + 1))
            gains[modality] += (value[after] - value[before]) / 6
    assert found == pytest.approx(gains, abs=1e-12)
    assert sum(found.values()) == pytest.approx(value["a", "b", "c"] - value[()], abs=1e-12)


def test_a_fusion_that_adds_nothing_is_flagged():
    assert synergy(0.9, {"a": 0.6, "b": 0.75}, "some run") == {
        "fused": 0.9,
        "alone": {"a": 0.6, "b": 0.75},
        "best": "b",
        "gap": pytest.approx(0.15),
        "flagged": False,
        "ceilings": "some run",
    }
    assert synergy(0.5, {"a": 0.5, "b": 0.4}, "")["flagged"]
    assert not synergy(0.5, {"a": 0.5}, "")["flagged"]  # nothing was fused
    assert synergy(0.5, {"a": 0.6, "b": 0.4}, "")["gap"] == pytest.approx(-0.1)
