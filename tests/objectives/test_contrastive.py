import math

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from sklearn.datasets import load_digits

from mmrun.errors import ConfigError
from mmrun.models.encoders.image import Cnn
from mmrun.models.fusions.simple import Concat
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.contrastive import Contrastive, InfoNCE, PairwiseSigmoid, VicReg, diagonal_cross_entropy
from mmrun.objectives.key_queue import KeyQueue
from mmrun.testing.examples import DIMS, build_batch, build_model
from mmrun.training.grad_accumulation import GradientAccumulator
from mmrun.training.learner import Learner
from mmrun.types import Batch

EYE = torch.eye(2)
UNSCALED = {"num_layers": 2, "normalize": False}
BOTH = torch.tensor([True, True])
MATCH = math.log(math.e + 1) - 1  # softplus(-1): a similarity of 1 against one of 0


def build_objective(pair_loss=InfoNCE, **changes):
    torch.manual_seed(1)
    kinds = {"photo": "image", "title": "text", "cells": "tabular"}
    return Contrastive(pair_loss, kinds, DIMS, dim=16, **changes)


def test_info_nce_of_two_rows_that_match():
    assert InfoNCE(temperature=1.0)(EYE, EYE, BOTH).item() == pytest.approx(MATCH)


def test_info_nce_looks_both_ways():
    a, b = torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [1.0]])
    # logits [[1, 1], [0, 0]], transposed [[1, 0], [1, 0]]
    forward, backward = math.log(2), (MATCH + MATCH + 1) / 2
    assert InfoNCE(temperature=1.0)(a, b, BOTH).item() == pytest.approx((forward + backward) / 2)


def test_the_learned_temperature_returns_from_its_lowest_value():
    loss = InfoNCE(temperature=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    matched, swapped = (F.normalize(torch.eye(2) + 0.5), F.normalize(torch.eye(2).flip(0) + 0.5))
    scales = []
    for other in (matched, matched, swapped, swapped):  # a lower temperature helps the first two and harms the last
        optimizer.zero_grad()
        loss(matched, other, BOTH).backward()
        optimizer.step()
        loss.clamp_temperature()
        scales.append(loss.log_scale.exp().item())
    assert max(scales) == pytest.approx(100)
    assert scales[-1] < 99


def test_the_temperature_is_clamped_after_each_step():
    objective = build_objective()
    with torch.no_grad():
        objective.pair["photo-title"].log_scale.fill_(9.0)
    objective.on_step_end(build_model())
    assert objective.pair["photo-title"].log_scale.item() == pytest.approx(math.log(100))


def test_a_temperature_below_the_lowest_is_refused():
    with pytest.raises(ConfigError) as caught:
        InfoNCE(temperature=0.005)
    assert str(caught.value) == ("objective.pair_loss.temperature: 0.005 is below 0.01, the lowest it may learn")


def test_pairwise_sigmoid_of_two_rows_that_match():
    loss = PairwiseSigmoid(temperature=1.0, bias=0.0)(EYE, EYE, BOTH)
    assert loss.item() == pytest.approx(MATCH + math.log(2))


def compute_vicreg(a, b, **weight):
    only = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0, **weight}
    a, b = torch.tensor(a), torch.tensor(b)
    return VicReg(**only)(a, b, torch.ones(len(a), dtype=torch.bool)).item()


def test_vicreg_invariance_is_the_mean_squared_distance():
    loss = compute_vicreg([[1.0, 2.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], invariance=1.0)
    assert loss == 1.0  # one of four numbers differs, by 2


def test_vicreg_variance_wants_a_deviation_of_one_in_every_dimension():
    wide, narrow = [[3.0, 1.0], [-3.0, -1.0]], [[0.3, 0.0], [-0.3, 0.0]]  # variances 18 and 2; 0.18 and 0
    assert compute_vicreg(wide, wide, variance=1.0) == 0.0
    expected = ((1 - math.sqrt(0.1801)) + (1 - math.sqrt(0.0001))) / 2
    assert compute_vicreg(narrow, narrow, variance=1.0) == pytest.approx(expected)
    assert compute_vicreg(wide, narrow, variance=1.0) == pytest.approx(expected / 2)


def test_vicreg_covariance_wants_dimensions_that_say_different_things():
    same, uncorrelated = [[1.0, 2.0], [-1.0, -2.0]], [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]
    expected = 2 * (2 * 4.0**2) / 2  # covariance 4, in two places, over D = 2, for both modalities
    assert compute_vicreg(same, same, covariance=1.0) == pytest.approx(expected)
    assert compute_vicreg(uncorrelated, uncorrelated, covariance=1.0) == 0.0


def test_vicreg_keeps_dimensions_from_collapsing():
    learner, data, objective = (
        build_model("photo", "title", "cells"),
        build_batch("photo", "title", "cells", rows=16),
        build_objective(VicReg, **UNSCALED),
    )
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    features = learner.encode(data.inputs)
    photo, cells = (objective.project[name](features[name].pooled) for name in ("photo", "cells"))
    assert photo.std(0).min() > 0.4  # those of one point are 0
    distance = torch.cdist(photo, cells)
    assert distance.argmin(1).tolist() == list(range(16))


@pytest.mark.parametrize("pair", [InfoNCE(), PairwiseSigmoid(), VicReg()])
def test_a_row_that_lacks_a_modality_is_neither_anchor_nor_negative(pair):
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 3)
    expected = pair(a[:3], b[:3], torch.tensor([True, True, True]))
    assert pair(a, b, torch.tensor([True, True, True, False])).item() == pytest.approx(expected.item())
    assert pair(a, b, torch.zeros(4, dtype=torch.bool)).item() == 0.0


def test_every_pair_of_modalities_counts_the_same():
    losses = build_objective()(build_model("photo", "title", "cells"), build_batch("photo", "title", "cells"))
    parts = ["loss/photo-title", "loss/photo-cells", "loss/title-cells"]
    assert list(losses) == ["loss", *parts]
    assert losses["loss"].item() == pytest.approx(sum(losses[part].item() for part in parts) / 3)


@pytest.mark.parametrize("pair_loss", [InfoNCE, PairwiseSigmoid])
def test_rows_find_their_other_halves(pair_loss):
    learner, data, objective = (
        build_model("photo", "title", "cells"),
        build_batch("photo", "title", "cells"),
        build_objective(pair_loss),
    )
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    features = learner.encode(data.inputs)
    photo, cells = (objective.project[name](features[name].pooled) for name in ("photo", "cells"))
    similarity = F.normalize(photo) @ F.normalize(cells).T
    assert similarity.argmax(1).tolist() == list(range(8))


def test_one_modality_is_no_pair():
    with pytest.raises(ConfigError) as caught:
        Contrastive(InfoNCE, {"photo": "image"}, DIMS)
    assert str(caught.value) == "objective: contrastive learning needs two modalities, and this stage reads only photo"


@pytest.mark.parametrize(("pair_loss", "changes"), [(InfoNCE, {}), (PairwiseSigmoid, {}), (VicReg, UNSCALED)])
def test_halves_of_digits_never_seen_find_each_other_far_above_chance(pair_loss, changes):
    """Real training: the upper halves of 64 handwritten digits look for their lower halves, chance being 1 in 64."""
    torch.manual_seed(0)
    digits = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16  # [1797, 1, 8, 8]
    halves = {"upper": digits[:, :, :4], "lower": digits[:, :, 4:]}
    dims, kinds = dict.fromkeys(halves, 64), dict.fromkeys(halves, "image")
    learner = Multimodal({name: Cnn(1, (32, 64), (3, 3)) for name in halves}, Concat(dims), {})
    objective = Contrastive(pair_loss, kinds, dims, dim=64, **changes)
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=3e-3)
    present = dict.fromkeys(halves, torch.ones(128, dtype=torch.bool))
    for _ in range(100):
        rows = torch.randint(1400, (128,))
        data = Batch({name: x[rows] for name, x in halves.items()}, present, {}, rows)
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    learner.eval()
    correct = []
    for first in range(1400, 1400 + 6 * 64, 64):  # rows of which training saw none
        features = learner.encode({name: x[first : first + 64] for name, x in halves.items()})
        upper, lower = (F.normalize(objective.project[name](features[name].pooled), dim=-1) for name in halves)
        correct.append((upper @ lower.T).argmax(1) == torch.arange(64))
    assert torch.stack(correct).float().mean().item() > 8 / 64


KINDS = {"photo": "image", "cells": "tabular"}


def build_with_queue(model, pair_loss=InfoNCE, **changes):
    torch.manual_seed(1)
    return Contrastive(pair_loss, KINDS, DIMS, dim=4, queue=12, queue_decay=0.9, model=model, **changes)


def learn_a_step(grad_accum_steps, memory=8):
    """Take the gradients of a batch, and return the objective after the step; `memory` holds so many rows."""
    model, batch = build_model(*KINDS), build_batch(*KINDS)
    batch.present["photo"][0] = False
    objective = build_with_queue(model)

    compare = objective.pair["photo-cells"].compare_with_queue

    def compare_in_memory(queries, keys, queue):
        if len(queries) > memory:
            raise torch.OutOfMemoryError
        return compare(queries, keys, queue)

    objective.pair["photo-cells"].compare_with_queue = compare_in_memory
    learner = Learner(model, objective).train()
    GradientAccumulator(learner, Accelerator(cpu=True), grad_accum_steps, lambda number: None).add(batch)
    learner.on_step_end()
    return objective, model.encoder["photo"].linear.weight.grad


@pytest.mark.parametrize(("grad_accum_steps", "memory"), [(4, 8), (1, 4)])
def test_with_a_queue_the_gradient_and_the_queue_are_those_of_the_whole_batch(grad_accum_steps, memory):
    expected, gradient = learn_a_step(1)
    objective, parts = learn_a_step(grad_accum_steps, memory)
    torch.testing.assert_close(parts, gradient)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(objective.state_dict()[name], value)
    queue = objective.keys["photo"].queue
    assert queue.position.item() == 8
    assert queue.usable.tolist() == [False] + [True] * 11  # the first row has no photo


@pytest.mark.parametrize("pair_loss", [InfoNCE, PairwiseSigmoid])
def test_each_row_is_compared_with_its_own_key_and_those_of_the_queue(pair_loss):
    pair, queue = pair_loss(temperature=0.5), KeyQueue(2, 2)
    right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    queue.keys.copy_(torch.cat([up, right]))
    loss = pair.compare_with_queue(right, right, queue).item()
    batch = torch.cat([right, up, right])  # the same comparison, within a batch, seen from its first row
    if pair_loss is InfoNCE:
        assert loss == pytest.approx(diagonal_cross_entropy(2 * batch @ batch.T, torch.ones(3) > 0)[0].item())
    else:
        signs = torch.tensor([1.0, -1.0, -1.0])
        assert loss == pytest.approx(F.softplus(-signs * (2 * batch @ batch[0] - 10)).sum().item())


def test_a_queue_is_refused_where_there_are_no_negatives():
    with pytest.raises(ConfigError) as caught:
        build_with_queue(build_model(*KINDS), VicReg)
    assert str(caught.value) == "objective.queue: VicReg has no negatives; set queue to 0"
    with pytest.raises(ConfigError) as caught:
        build_with_queue(build_model(*KINDS), normalize=False)
    assert str(caught.value) == "objective.queue: its keys have length 1; set normalize to true, or queue to 0"
