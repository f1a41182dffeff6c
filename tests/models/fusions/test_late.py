"""Late fusion averages logits, weights them by their confidence, or sums cosines."""

import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.fusions.late import Late, MMCosine, Qmf
from mmrun.types import Features, Fusion
from tests.models.fusions.rows import DIMS, NO, make_rows


@pytest.mark.parametrize("weights", ["uniform", "learned"])
def test_late_averages_the_logits_of_what_is_present(weights):
    x, features, present = make_rows("image", "text", "audio")
    module = Late(DIMS, num_outputs=2, weights=weights)
    head = module.head(2)
    nn.init.constant_(head.bias, 0.5)
    share = torch.tensor([0.5, 0.5])
    if module.scores is not None:
        module.load_state_dict({**module.state_dict(), "scores": torch.tensor([1.0, 2.0, 3.0])})
        share = torch.tensor([1.0, 2.0]).softmax(0)
    logits = [x[name] @ module.logits[name].weight.T for name in ("image", "text")]
    fused = head(module(features, {**present, "audio": NO}))
    torch.testing.assert_close(fused, share[0] * logits[0] + share[1] * logits[1] + 0.5)
    assert head(module(features, dict.fromkeys(DIMS, NO))).tolist() == [[0.5, 0.5]] * 2


def test_qmf_weights_logits_by_their_negative_energy():
    module = Qmf({"image": 2, "text": 2}, num_outputs=2, temperature=2.0)
    for linear in module.logits.values():
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    image, text = torch.tensor([[3.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    features = {"image": Features(image), "text": Features(text)}
    yes = torch.tensor([True])
    sure = torch.tensor([3.0, 1.0]).exp().sum().log() / 2 * image
    unsure = (0.5 + torch.tensor(2.0).log()) / 2 * text
    torch.testing.assert_close(module(features, {"image": yes, "text": yes}), sure + unsure)
    torch.testing.assert_close(module(features, {"image": yes, "text": ~yes}), sure)


def test_mmcosine_is_the_scaled_sum_of_cosines():
    module = MMCosine({"image": 2, "text": 2}, num_outputs=2, scale=4.0)
    module.logits["image"].weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.1]])
    module.logits["text"].weight.data = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    features = {"image": Features(torch.tensor([[30.0, 40.0]])), "text": Features(torch.tensor([[0.0, 0.2]]))}
    yes, half = torch.tensor([True]), 0.5**0.5
    both = torch.tensor([[4 * (0.6 + half), 4 * (0.8 - half)]])
    torch.testing.assert_close(module(features, {"image": yes, "text": yes}), both)
    torch.testing.assert_close(module(features, {"image": yes, "text": ~yes}), torch.tensor([[2.4, 3.2]]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mmcosine_is_not_dominated_by_a_modality_of_large_values(seed):
    accuracies = []
    for fusion in (Late, MMCosine):
        torch.manual_seed(seed)
        accuracies.append(measure_accuracy_with_large_values(fusion({"image": 8, "text": 8}, num_outputs=4)))
    assert accuracies[1] > accuracies[0] + 0.01


def measure_accuracy_with_large_values(fusion: Fusion) -> float:
    """Train on a large modality that says little and a small one that says much; return the accuracy on new rows."""
    centers, label = torch.randn(2, 4, 8), torch.randint(4, (1000,))
    image = 30 * (0.3 * centers[0, label] + torch.randn(1000, 8))
    text = 0.1 * (1.5 * centers[1, label] + torch.randn(1000, 8))
    return train_and_measure(fusion, {"image": Features(image), "text": Features(text)}, label)


def measure_accuracy_with_noise(fusion: Fusion) -> float:
    """Train on rows in each of which one of two modalities is noise; return the accuracy on new rows."""
    centers = 1.5 * torch.randn(2, 4, 8)  # of four classes in each modality
    label, noisy = torch.randint(4, (1000,)), torch.randint(2, (1000,))
    values = torch.randn(2, 1000, 8)
    for modality in (0, 1):
        values[modality, noisy != modality] += centers[modality, label[noisy != modality]]
    return train_and_measure(fusion, {"image": Features(values[0]), "text": Features(values[1])}, label)


def train_and_measure(fusion: Fusion, features: dict[str, Features], label: torch.Tensor) -> float:
    """Train a fusion on half of 1,000 rows, and return its accuracy on the others."""
    head = fusion.head(4)
    optimizer = torch.optim.Adam([*fusion.parameters(), *head.parameters()], lr=0.02)
    train, test = slice(0, 500), slice(500, 1000)
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(fusion(*_cut(features, train))), label[train])
        for decision in fusion.decide_alone(*_cut(features, train)).values():  # as objectives do
            truth = decision.logits.detach().softmax(1).gather(1, label[train, None]).squeeze(1)
            loss = loss + nn.functional.cross_entropy(decision.logits, label[train])
            loss = loss + (decision.confidence - truth).abs().mean()
        loss.backward()
        optimizer.step()
    fusion.eval()
    return (head(fusion(*_cut(features, test))).argmax(1) == label[test]).float().mean().item()


def _cut(features: dict[str, Features], rows: slice) -> tuple[dict[str, Features], dict[str, torch.Tensor]]:
    present = dict.fromkeys(features, torch.ones(500, dtype=torch.bool))
    return {name: Features(part.pooled[rows]) for name, part in features.items()}, present


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_qmf_is_more_robust_than_the_average_to_a_modality_of_noise(seed):
    dims, accuracy = {"image": 8, "text": 8}, {}
    for fusion in (Late, Qmf):
        torch.manual_seed(seed)
        accuracy[fusion] = measure_accuracy_with_noise(fusion(dims, num_outputs=4))
    assert accuracy[Qmf] > accuracy[Late] + 0.01


def test_no_gradient_passes_through_the_confidence():
    module = Qmf({"image": 2}, num_outputs=2, temperature=1.0)
    x = torch.randn(1, 2)
    confidence = module.logits["image"](x).detach().logsumexp(1)
    module({"image": Features(x)}, {"image": torch.tensor([True])}).sum().backward()
    torch.testing.assert_close(module.logits["image"].bias.grad, confidence.expand(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Late(DIMS, num_outputs=2, weights="equal"), "fusion.weights: 'equal' is neither uniform nor learned"),
        (
            lambda: Qmf(DIMS, num_outputs=1),
            "fusion: qmf needs several outputs, of classes or labels, and the task has one; choose another fusion",
        ),
        (
            lambda: Late(DIMS, num_outputs=2).head(3),
            "fusion: late fusion computes 2 logits, but one task has 3 outputs: it supports a single task;"
            " choose another fusion",
        ),
    ],
)
def test_errors_name_the_key(make, message):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message
