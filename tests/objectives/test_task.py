from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.task import Probe, Task
from mmrun.tasks.classification import Classification
from mmrun.tasks.ordinal import Ordinal
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model
from mmrun.types import Batch, Encoder, Features, Fusion

LABEL: Any = TASKS["label"]
AGE: Any = TASKS["age"]
ONLY_AGE = {"age": AGE}


class Flatten(Encoder):
    """Pixels as they are."""

    kind, dim = "image", 64

    def forward(self, x):
        return Features(x.flatten(1))


class Same(Fusion):
    """The only modality."""

    dim = 64

    def forward(self, features, present):
        return features["photo"].pooled


def test_the_loss_is_the_weighted_sum_of_the_tasks():
    losses = Task(TASKS, weights={"age": 0.5})(build_model("photo"), build_batch("photo"))
    assert set(losses) == {"loss", "loss/label", "loss/age"}
    assert losses["loss"].item() == pytest.approx(losses["loss/label"].item() + 0.5 * losses["loss/age"].item())


def test_rows_whose_target_is_hidden_do_not_count():
    learner, data = build_model("photo"), build_batch("photo")
    all_visible = Task(TASKS)(learner, data)
    shown = learner(data)["label"][:5]
    data.targets["label"][5:] = -100
    losses = Task(TASKS)(learner, data)
    assert losses["loss/age"].item() == all_visible["loss/age"].item()
    assert losses["loss/label"].item() == pytest.approx(LABEL.loss(shown, data.targets["label"][:5]).item())


def test_label_smoothing_and_balance_reach_the_classification():
    learner, data = build_model("photo"), build_batch("photo")
    plain, smooth, balanced = (
        Task(TASKS, **kwargs)(learner, data) for kwargs in ({}, {"label_smoothing": 0.3}, {"class_balanced": True})
    )
    assert plain["loss/age"].item() == smooth["loss/age"].item() == balanced["loss/age"].item()
    output, target = learner(data)["label"], data.targets["label"]
    assert smooth["loss/label"].item() == LABEL.loss(output, target, label_smoothing=0.3).item()
    assert balanced["loss/label"].item() == LABEL.loss(output, target, class_balanced=True).item()


def test_what_no_task_can_do_is_refused():
    with pytest.raises(ConfigError) as caught:
        Task(ONLY_AGE, label_smoothing=0.1)
    assert str(caught.value) == "objective.label_smoothing: no task is a classification (there are age); leave it out"
    with pytest.raises(ConfigError) as caught:
        Probe(ONLY_AGE, KINDS, class_balanced=True)
    assert str(caught.value) == "objective.class_balanced: no task is a classification (there are age); leave it out"
    with pytest.raises(ConfigError) as caught:
        Task(TASKS, weights={"lable": 2.0})
    assert str(caught.value) == "objective.weights.lable: no such task; did you mean 'label'? (there are label, age)"


def test_the_task_teaches_encoder_fusion_and_head_but_no_probe():
    learner = build_model("photo", "cells")
    Task(TASKS)(learner, build_batch("photo", "cells"))["loss"].backward()
    silent = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is None}
    assert silent == {"probe"}


def test_a_probe_teaches_the_encoders_in_scope_and_their_probes_only():
    learner, data = build_model("photo", "cells"), build_batch("photo", "cells")
    losses = Probe(TASKS, ["cells"])(learner, data)
    losses["loss"].backward()
    taught = {".".join(name.split(".")[:2]) for name, p in learner.named_parameters() if p.grad is not None}
    assert taught == {"encoder.cells", "probe.cells"}
    assert set(losses) == {"loss", "loss/cells"}


def test_a_probe_counts_the_rows_that_have_the_modality():
    learner, data = build_model("photo"), build_batch("photo")
    data.present["photo"][4:] = False
    four = build_batch("photo")
    expected = sum(
        task.loss(learner.forward_unimodal(four, "photo")[name][:4], four.targets[name][:4])
        for name, task in TASKS.items()
    )
    assert Probe(TASKS, ["photo"])(learner, data)["loss"].item() == pytest.approx(expected.item())
    assert torch.equal(data.targets["label"], four.targets["label"])


def test_a_loss_is_chosen_by_kind_of_task():
    learner, data = build_model("photo"), build_batch("photo")
    outputs = learner(data)
    losses = Task(TASKS, loss={"classification": "focal", "regression": "l1"}, gamma=1.0)(learner, data)
    assert losses["loss/label"].item() == LABEL.focal(outputs["label"], data.targets["label"], 1.0).item()
    assert losses["loss/age"].item() == AGE.l1(outputs["age"], data.targets["age"]).item()
    losses = Probe(TASKS, ["photo"], loss={"classification": "hinge", "regression": "huber"}, delta=0.1)(learner, data)
    alone = learner.forward_unimodal(data, "photo")
    expected = LABEL.hinge(alone["label"], data.targets["label"])
    expected += AGE.huber(alone["age"], data.targets["age"], 0.1)
    assert losses["loss"].item() == pytest.approx(expected.item())


def test_an_ordinal_task_has_a_loss_of_its_own_that_can_be_balanced():
    stars = Ordinal("label", ["a", "b", "c"], np.array([4, 2, 2]))
    learner, data = build_model("photo"), build_batch("photo")
    output, target = learner(data)["label"], data.targets["label"]
    loss = Task({"label": stars}, class_balanced=True)(learner, data)["loss"]
    assert loss.item() == stars.loss(output, target, class_balanced=True).item()


@pytest.mark.parametrize(
    ("tasks", "keywords", "message"),
    [
        (
            TASKS,
            {"loss": {"classification": "focul"}},
            "loss.classification: 'focul' is not one of cross_entropy, focal, hinge; did you mean 'focal'?",
        ),
        (TASKS, {"loss": {"ranking": "l1"}}, "loss.ranking: a loss can be chosen for classification and regression"),
        (
            ONLY_AGE,
            {"loss": {"classification": "hinge"}},
            "loss.classification: no task is a classification (there are age); leave it out",
        ),
        (
            {"label": LABEL},
            {"loss": {"regression": "l1"}},
            "loss.regression: no task is a regression (there are label); leave it out",
        ),
        (
            TASKS,
            {"loss": {"classification": "hinge"}, "label_smoothing": 0.1},
            "label_smoothing: hinge has no label smoothing; set it to 0",
        ),
        (TASKS, {"gamma": -1.0}, "gamma: -1.0 is below 0"),
        (TASKS, {"delta": 0.0}, "delta: 0.0 is not above 0"),
        (TASKS, {"weighting": "learned"}, "weighting: 'learned' is not one of fixed, uncertainty"),
        (TASKS, {"penalty": "l3"}, "penalty: 'l3' is not one of l2, l1, variance"),
        (
            TASKS,
            {"kinds": ["photo"], "unimodal_weight": {"foto": 1.0}},
            "unimodal_weight.foto: no such modality; did you mean 'photo'? (there are photo)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tasks, keywords, message):
    with pytest.raises(ConfigError) as caught:
        Task(tasks, **keywords)
    assert str(caught.value) == f"objective.{message}"


def test_uncertainty_weighs_a_task_by_its_noise():
    """At the optimum, a classification of loss l has s = log(2 l), a regression s = log(l)."""
    objective, learner, data = Task(TASKS, weighting="uncertainty"), build_model("photo"), build_batch("photo")
    losses = objective(learner, data)
    assert losses["loss"].item() == pytest.approx(losses["loss/label"].item() + losses["loss/age"].item() / 2)
    noise = objective.uncertainty.log_variance
    with torch.no_grad():
        noise["label"].copy_((2 * losses["loss/label"]).log())
        noise["age"].copy_(losses["loss/age"].log())
    objective(learner, data)["loss"].backward()
    assert noise["label"].grad.item() == pytest.approx(0, abs=1e-6)
    assert noise["age"].grad.item() == pytest.approx(0, abs=1e-6)


def test_uncertainty_finds_how_noisy_a_task_is():
    torch.manual_seed(0)
    objective, learner, data = Task(TASKS, weighting="uncertainty"), build_model("photo"), build_batch("photo", rows=32)
    optimizer = torch.optim.SGD([*learner.parameters(), *objective.parameters()], lr=1e-2)
    for _ in range(400):
        data.targets["age"] = 10 * torch.randn(32)  # noise and nothing else
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    variance = objective.uncertainty.log_variance["age"].exp().item()
    assert variance == pytest.approx(100, rel=0.2)


def test_losses_of_single_modalities_count_beside_the_fused_one():
    learner, data = build_model("photo", "cells"), build_batch("photo", "cells")
    data.present["cells"][2:] = False
    fused = Task(TASKS)(learner, data)["loss"].item()
    alone = Probe(TASKS, ["photo", "cells"])(learner, data)
    losses = Task(TASKS, ["photo", "cells"], unimodal_weight={"photo": 0.5, "cells": 2.0})(learner, data)
    assert set(losses) == {"loss", "loss/label", "loss/age", "loss/probe.photo", "loss/probe.cells"}
    expected = fused + 0.5 * alone["loss/photo"].item() + 2.0 * alone["loss/cells"].item()
    assert losses["loss"].item() == pytest.approx(expected)
    same = Task(TASKS, ["photo", "cells"], unimodal_weight=0.3)(learner, data)["loss"].item()
    assert same == pytest.approx(fused + 0.3 * alone["loss"].item())


@pytest.mark.parametrize(
    ("penalty", "expected"), [("l2", lambda z: z.pow(2).mean()), ("l1", lambda z: z.abs().mean()), ("variance", None)]
)
def test_a_penalty_on_the_fused_vector(penalty, expected):
    learner, data = build_model("photo"), build_batch("photo")
    fused = learner.fusion(learner.encode(data.inputs), data.present)
    losses = Task(TASKS, penalty=penalty, penalty_weight=0.5)(learner, data)
    expected_penalty = (fused - fused.mean(0)).square().mean() if expected is None else expected(fused)
    assert losses["loss/penalty"].item() == pytest.approx(expected_penalty.item(), rel=1e-5)
    plain = Task(TASKS)(learner, data)["loss"].item()
    assert losses["loss"].item() == pytest.approx(plain + 0.5 * expected_penalty.item())


def test_a_probe_may_read_some_of_the_modalities():
    losses = Probe(TASKS, ["photo", "cells"], modalities=["cells"])(build_model(), build_batch())
    assert set(losses) == {"loss", "loss/cells"}
    with pytest.raises(ConfigError) as caught:
        Probe(TASKS, ["photo"], modalities=["cells"])
    assert str(caught.value) == "objective.modalities.cells: no such modality (there are photo)"


def test_the_head_that_learns_by_the_hinge_is_a_linear_svm():
    """On digits with frozen features: the predictions of scikit-learn's, except where two margins are nearly equal."""
    digits = load_digits()
    x = StandardScaler().fit_transform(digits.data)[:, :, None, None].reshape(-1, 1, 8, 8).astype(np.float32)
    y, counts = digits.target, np.bincount(digits.target[:1000])
    svm = LinearSVC(C=0.01, multi_class="crammer_singer", max_iter=5000).fit(x[:1000].reshape(1000, 64), y[:1000])
    learner = Multimodal({"photo": Flatten()}, Same(), {"label": Classification("label", list("0123456789"), counts)})
    objective = Task({"label": Classification("label", list("0123456789"), counts)}, loss={"classification": "hinge"})
    rows = torch.arange(1000)
    data = Batch(
        {"photo": torch.from_numpy(x[:1000])},
        {"photo": rows >= 0},
        {"label": torch.from_numpy(y[:1000])},
        rows,
    )
    optimizer = torch.optim.Adam(learner.head.parameters(), lr=1e-2, weight_decay=1 / (0.01 * 1000))  # 1 / (C n)
    for _ in range(300):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    new = data._replace(inputs={"photo": torch.from_numpy(x[1000:])}, present={"photo": torch.ones(797) > 0})
    predicted = learner(new)["label"].argmax(1).numpy()
    agreement = (predicted == svm.predict(x[1000:].reshape(-1, 64))).mean()
    assert agreement >= 0.95
    assert (predicted == y[1000:]).mean() > 0.85
