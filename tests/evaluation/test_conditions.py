from collections import Counter

import numpy as np
import pytest
import torch

from mmrun.evaluation.conditions import (
    CLEAN,
    SHUFFLED,
    ZEROS,
    Variant,
    _shuffle_rows,
    evaluate_conditions,
    predict_conditions,
)
from mmrun.evaluation.contribution import enumerate_conditions
from mmrun.evaluation.robustness import enumerate_points

COMPLETE = {"image": CLEAN, "text": CLEAN}


def outputs(session, *conditions):
    return [by_task["label"] for by_task in predict_conditions(session, "test", conditions)[0]]


def test_clean_input_gives_the_metrics_of_the_run(session):
    (metrics,), targets = evaluate_conditions(session, "test", [COMPLETE])
    assert metrics == pytest.approx(session.folder.read_metrics()["metrics"]["test"], abs=1e-4)
    assert len(targets["label"]) == len(session.data.rows["test"])


def test_a_condition_gives_the_same_outputs_in_every_call(session):
    noisy = {"image": Variant("gaussian", 0.4), "text": Variant("replaced", 0.4)}
    first, again = outputs(session, noisy), outputs(session, COMPLETE, {"text": CLEAN}, noisy)
    assert first[0].equal(again[2])


def test_absent_zero_and_shuffled_input_give_different_outputs(session):
    absent, zeros, shuffled, complete = outputs(
        session, {"text": CLEAN}, {"image": ZEROS, "text": CLEAN}, {"image": SHUFFLED, "text": CLEAN}, COMPLETE
    )
    different = [(a != b).any(1).float().mean() for a, b in [(absent, zeros), (zeros, shuffled), (shuffled, complete)]]
    assert all(share > 0.9 for share in different)


def test_shuffling_moves_whole_rows(session):
    """Each modality alone gives, shuffled, the same outputs as clean, in another order."""
    for modality in ("image", "text"):
        clean, shuffled = outputs(session, {modality: CLEAN}, {modality: SHUFFLED})
        assert not clean.equal(shuffled)
        assert torch.allclose(clean.sort(dim=0).values, shuffled.sort(dim=0).values, atol=1e-5)


def test_shuffling_gives_each_row_another_one_and_differs_between_modalities(session):
    rows = session.data.rows["test"]
    image, text = (_shuffle_rows(session, modality, rows) for modality in ("image", "text"))
    assert (image != rows).all()
    assert (text != rows).all()
    assert (image != text).mean() > 0.9
    assert np.array_equal(np.sort(image), rows)


def test_rows_without_the_modality_are_not_shuffled(session, monkeypatch):
    present = session.columns["image"].present.clone()
    rows = session.data.rows["test"]
    present[rows[::3]] = False
    monkeypatch.setattr(session.columns["image"], "present", present)
    shuffled = _shuffle_rows(session, "image", rows)
    assert np.array_equal(shuffled[::3], rows[::3])
    assert not set(shuffled[1::3]) & set(rows[::3])
    assert (shuffled[1::3] != rows[1::3]).all()


def test_every_modality_is_encoded_once_per_variant(session):
    calls = Counter()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, encoder in session.model.encoder.items()
    ]
    conditions = [condition for *_, condition in enumerate_conditions(["image", "text"])]
    conditions += [condition for _, condition in enumerate_points(session.data.kinds)]
    evaluate_conditions(session, "test", conditions)
    for hook in hooks:
        hook.remove()
    batches = -(-len(session.data.rows["test"]) // 64)
    assert calls == {"image": batches * (3 + 2 * 4), "text": batches * (3 + 2 * 4)}


def test_one_modality_under_full_noise_is_hardly_better_than_chance(session):
    metrics, _ = evaluate_conditions(session, "test", [{"text": CLEAN}, {"text": Variant("replaced", 1.0)}])
    assert metrics[1]["accuracy"] < metrics[0]["accuracy"]
    assert metrics[1]["accuracy"] < 0.3
