"""What every objective promises, over all its YAML files."""

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmrun.compose import list_options, load_option
from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from tests.objectives.five_kinds import DIMS, FACTS, KINDS, TASKS, batch, model

NAMES = list_options("objective")
STEPS = {"itm": 60}  # until it has learned, where 15 are too few: these rows can only be learned by heart


def build(name: str, **changes):
    offer = {"model": model(), "open_run": model, "tasks": TASKS, "kinds": KINDS, "dims": DIMS, "fusion_dim": 6}
    offer |= {"metadata": FACTS, "seed": 0}
    torch.manual_seed(1)
    return instantiate({**load_option("objective", name), **changes}, "objective", offer)


def step_loss(objective, learner, data):
    torch.manual_seed(2)
    return objective(learner, data)


def test_they_are_found():
    assert {"task", "probe", "self_supervised", "joint_self_supervised"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns(name):
    objective, learner, data = build(name), model(), batch()
    optimizer = torch.optim.Adam([*learner.parameters(), *objective.parameters()], lr=1e-2)
    first = step_loss(objective, learner, data)["loss"].item()
    for _ in range(STEPS.get(name, 15)):
        optimizer.zero_grad()
        objective(learner, data)["loss"].backward()
        optimizer.step()
    assert step_loss(objective, learner, data)["loss"].item() < 0.9 * first


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_an_fp32_scalar_and_so_is_each_part(name):
    with torch.autocast("cpu", torch.bfloat16):
        losses = build(name)(model(), batch())
    assert all(loss.shape == () and loss.dtype is torch.float32 for loss in losses.values())
    assert all(part == "loss" or part.startswith("loss/") for part in losses)
    assert losses["loss"].isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_loss_and_leaves_the_batch_alone(name):
    objective, learner, data = build(name), model(), batch()
    before = copy.deepcopy(data)
    first, second = (step_loss(objective, learner, data) for _ in range(2))
    assert {part: loss.item() for part, loss in first.items()} == {part: loss.item() for part, loss in second.items()}
    for modality, x in before.inputs.items():
        now = data.inputs[modality]
        for key in x if isinstance(x, dict) else [...]:
            assert torch.equal(x[key], now[key])


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_a_modality_do_not_count(name):
    objective, learner, data = build(name), model(), batch()
    data.present["photo"][:3] = False
    first = step_loss(objective, learner, data)
    data.inputs["photo"][:3] = torch.rand(3, 1, 8, 8)  # what fills the gap is of no concern
    second = step_loss(objective, learner, data)
    assert {part: loss.item() for part, loss in first.items()} == {part: loss.item() for part, loss in second.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_in_which_a_modality_is_missing_altogether_has_a_loss(name):
    objective, learner, data = build(name), model(), batch()
    data.present["sound"][:] = False
    loss = step_loss(objective, learner, data)["loss"]
    loss.backward()
    assert loss.isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_all_encoders_and_everything_the_objective_owns(name):
    objective, learner = build(name), model()
    objective(learner, batch())["loss"].backward()
    named = [*objective.named_parameters(), *learner.encoder.named_parameters()]
    silent = [key for key, p in named if p.requires_grad and p.grad is None]
    assert silent in ([], ["title.mix.weight", "title.mix.bias"])  # tokens: only fusions and word models read them


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name):
    objective, learner, data = build(name), model(), batch()
    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors without values: nothing can depend on one
        objective(learner, data)["loss"].backward()


@pytest.mark.parametrize("name", list_options("fusion"))
def test_joint_pretraining_teaches_every_fusion(name):
    torch.manual_seed(0)
    fusion = instantiate(load_option("fusion", name), "fusion", {"dims": DIMS, "num_outputs": 3})
    learner = Multimodal(dict(model().encoder.items()), fusion, {"label": TASKS["label"]})
    losses = build("joint_self_supervised", fusion_dim=fusion.dim)(learner, batch())
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())
