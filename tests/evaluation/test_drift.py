import numpy as np
import pytest
import torch

from mmrun.evaluation import drift
from mmrun.evaluation.drift import cka
from tests.evaluation.conftest import SMALL, train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 12))


def test_cka_of_rotated_scaled_and_shifted_features_is_one():
    rotation = np.linalg.qr(RNG.standard_normal((12, 12)))[0]
    assert cka(X, X) == pytest.approx(1.0)
    assert cka(X, 3.0 * X @ rotation + 5.0) == pytest.approx(1.0)
    assert cka(X, RNG.standard_normal((200, 12))) < 0.2
    assert cka(X, np.ones((200, 3))) == 0.0


def test_cka_is_the_normalised_hsic_of_linear_kernels():
    """The definition by kernels (Kornblith et al., 2019, equation 3), against the one by features."""
    y = X[:, :5] + 0.5 * RNG.standard_normal((200, 5))
    centre = np.eye(200) - 1 / 200

    def hsic(a, b):
        return np.trace(a @ a.T @ centre @ b @ b.T @ centre)

    assert cka(X, y) == pytest.approx(hsic(X, y) / np.sqrt(hsic(X, X) * hsic(y, y)))


def test_an_encoder_is_compared_with_itself_after_the_stage_that_first_trained_it(session):
    before = {name: value.clone() for name, value in session.model.state_dict().items()}
    drifts = drift.measure_drift(session)
    assert {modality: encoder["after_stage"] for modality, encoder in drifts.items()} == {
        "image": "pretrain-image",
        "text": "pretrain-text",
    }
    for encoder in drifts.values():
        assert encoder["rows"] == len(session.data.rows["val"])
        assert 0.0 < encoder["cka"] < 0.999
        assert 0.1 < encoder["probe"]["label"]["before"] <= 1.0
        assert encoder["probe"]["label"]["before"] != encoder["probe"]["label"]["after"]
    assert all(value.equal(before[name]) for name, value in session.model.state_dict().items())
    assert not session.model.training


def test_an_encoder_that_stays_frozen_after_its_stage_does_not_drift(folder):
    words = ["strategy=component", "strategy.stages.finetune.train=[fusion,head,encoder.image]", "budget.epochs=0.5"]
    drifts = drift.measure_drift(train(folder, *SMALL, *words))
    assert drifts["text"]["cka"] == pytest.approx(1.0)
    assert drifts["text"]["probe"]["label"]["before"] == drifts["text"]["probe"]["label"]["after"]
    assert drifts["image"]["cka"] < 0.999


def test_a_run_of_one_stage_has_no_drift(folder):
    assert drift.measure_drift(train(folder, *SMALL, "strategy=scratch", "budget.epochs=0.2")) == {}
    assert torch.is_grad_enabled()
