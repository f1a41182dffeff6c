from collections import Counter

import numpy as np
import pytest
import torch

from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS, Given, _others, answer, measure
from mmrun.evaluation.contribution import matrix
from mmrun.evaluation.robustness import points

WHOLE = {"image": CLEAN, "text": CLEAN}


def outputs(session, *conditions):
    return [told["label"] for told in answer(session, "test", conditions)[0]]


def test_everything_clean_gives_the_figures_of_the_run(session):
    (told,), targets = measure(session, "test", [WHOLE])
    assert told == pytest.approx(session.folder.read_metrics()["metrics"]["test"], abs=1e-4)
    assert len(targets["label"]) == len(session.data.rows["test"])


def test_the_same_question_has_the_same_answer(session):
    spoiled = {"image": Given("gaussian", 0.4), "text": Given("replaced", 0.4)}
    first, again = outputs(session, spoiled), outputs(session, WHOLE, {"text": CLEAN}, spoiled)
    assert first[0].equal(again[2])


def test_an_absent_modality_is_no_zero_and_a_shuffled_one_is_neither(session):
    absent, zeros, shuffled, whole = outputs(
        session, {"text": CLEAN}, {"image": ZEROS, "text": CLEAN}, {"image": SHUFFLED, "text": CLEAN}, WHOLE
    )
    different = [(a != b).any(1).float().mean() for a, b in [(absent, zeros), (zeros, shuffled), (shuffled, whole)]]
    assert all(share > 0.9 for share in different)


def test_shuffling_everything_breaks_pairs_but_shuffled_rows_are_whole_rows(session):
    """Each modality alone gives, shuffled, the same outputs as clean, in another order."""
    for modality in ("image", "text"):
        clean, shuffled = outputs(session, {modality: CLEAN}, {modality: SHUFFLED})
        assert not clean.equal(shuffled)
        assert torch.allclose(clean.sort(dim=0).values, shuffled.sort(dim=0).values, atol=1e-5)


def test_each_row_gets_another_one_and_each_modality_its_own(session):
    rows = session.data.rows["test"]
    image, text = (_others(session, modality, rows) for modality in ("image", "text"))
    assert (image != rows).all()
    assert (text != rows).all()
    assert (image != text).mean() > 0.9
    assert np.array_equal(np.sort(image), rows)


def test_rows_without_the_modality_give_and_get_nothing(session, monkeypatch):
    present = session.columns["image"].present.clone()
    rows = session.data.rows["test"]
    present[rows[::3]] = False
    monkeypatch.setattr(session.columns["image"], "present", present)
    others = _others(session, "image", rows)
    assert np.array_equal(others[::3], rows[::3])
    assert not set(others[1::3]) & set(rows[::3])
    assert (others[1::3] != rows[1::3]).all()


def test_every_modality_is_encoded_once_for_each_thing_it_gives(session):
    calls = Counter()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, encoder in session.model.encoder.items()
    ]
    every = [condition for *_, condition in matrix(["image", "text"])]
    every += [condition for _, condition in points(session.data.kinds)]
    measure(session, "test", every)
    for hook in hooks:
        hook.remove()
    batches = -(-len(session.data.rows["test"]) // 64)
    assert calls == {"image": batches * (3 + 2 * 4), "text": batches * (3 + 2 * 4)}


def test_alone_under_full_noise_is_little_better_than_chance(session):
    told, _ = measure(session, "test", [{"text": CLEAN}, {"text": Given("replaced", 1.0)}])
    assert told[1]["accuracy"] < told[0]["accuracy"]
    assert told[1]["accuracy"] < 0.3
