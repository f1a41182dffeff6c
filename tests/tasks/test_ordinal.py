import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import cohen_kappa_score

from mmrun.tasks.classification import Classification
from mmrun.tasks.ordinal import Ordinal, cumulative_logits

STARS = Ordinal("stars", ["one", "two", "three", "four"], np.array([1, 1, 1, 5]))


def test_a_question_is_whether_the_class_is_above():
    output = torch.randn(5, 4, dtype=torch.float64)
    p = output.softmax(1)
    expected = torch.stack([p[:, 1:].sum(1), p[:, 2:].sum(1), p[:, 3]], 1)
    assert torch.allclose(cumulative_logits(output).sigmoid(), expected)
    assert (cumulative_logits(output).diff(dim=1) <= 0).all()


def test_the_loss_is_the_mean_over_the_questions():
    output, target = torch.randn(3, 4), torch.tensor([0, 2, -100])
    truth = torch.tensor([[0.0, 0, 0], [1, 1, 0]])
    expected = F.binary_cross_entropy(cumulative_logits(output[:2]).sigmoid(), truth)
    assert STARS.loss(output, target).item() == pytest.approx(expected.item(), rel=1e-5)
    assert STARS.loss(output, torch.full((3,), -100)).item() == 0.0


def test_balance_and_smoothing():
    output, target = torch.randn(2, 4), torch.tensor([0, 3])
    each = torch.stack([STARS.loss(output[i : i + 1], target[i : i + 1]) for i in range(2)])
    weights = STARS.class_weights[target]
    assert STARS.loss(output, target, class_balanced=True).item() == pytest.approx(
        (weights * each).mean().item(), rel=1e-5
    )
    half = F.binary_cross_entropy_with_logits(cumulative_logits(output), torch.full((2, 3), 0.5))
    assert STARS.loss(output, target, label_smoothing=1.0).item() == pytest.approx(half.item(), rel=1e-5)


def test_the_figures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 4, 200)
    predicted = np.clip(target + rng.integers(-1, 2, 200), 0, 3)
    scores = np.eye(4)[predicted]
    target[-20:] = -100
    seen, said = target[:-20], predicted[:-20]
    figures = STARS.metrics(scores, target)
    assert figures["accuracy"] == (seen == said).mean()
    assert figures["mae"] == np.abs(seen - said).mean()
    assert figures["quadratic_kappa"] == pytest.approx(cohen_kappa_score(seen, said, weights="quadratic"))


def test_kappa_is_left_out_where_one_class_is_all_there_is():
    assert "quadratic_kappa" not in STARS.metrics(np.eye(4)[[1, 1]], np.array([1, 1]))
    assert STARS.metrics(np.eye(4)[[1, 1]], np.array([-100, -100])) == {}


def ranks_off(kind, seed):
    """Mean distance on new rows, after 60 rows of 8 ordered classes."""
    draw = torch.Generator().manual_seed(seed)
    x, direction = torch.randn(1000, 10, generator=draw), torch.randn(10, generator=draw)
    height = x @ direction / direction.norm() + 0.3 * torch.randn(1000, generator=draw)
    target = torch.bucketize(height, height.quantile(torch.arange(1, 8) / 8))
    task = kind("stars", [str(i) for i in range(8)], np.ones(8))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        task.loss(net(x[:60]), target[:60]).backward()
        optimizer.step()
    return (task.scores(net(x[60:])).argmax(1) - target[60:]).abs().float().mean().item()


def test_it_is_less_ranks_off_than_a_classification_that_knows_no_order():
    off = {kind: sum(ranks_off(kind, seed) for seed in range(4)) for kind in (Classification, Ordinal)}
    assert off[Ordinal] < 0.98 * off[Classification]
