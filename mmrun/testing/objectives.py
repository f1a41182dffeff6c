"""Contract checks for objectives. The first line of a check is printed as what it checks."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

from mmrun.models.multimodal import Multimodal
from mmrun.testing.examples import DIMS, KINDS, METADATA, TASKS, build_batch, build_model
from mmrun.training.learner import Learner
from mmrun.types import Batch, Objective

MAX_STEPS = 60  # in which an objective has to lower its loss by a tenth

BuildObjective = Callable[[], Objective]
BuildModel = Callable[[], Multimodal]

OPTIONAL_KWARGS: dict[str, object] = {  # that a run passes to objectives that name them
    "open_run": build_model,
    "tasks": TASKS,
    "kinds": KINDS,
    "dims": DIMS,
    "fusion_dim": 6,
    "metadata": METADATA,
}


def seeded_losses(objective: Objective, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Compute the losses with a fixed seed.

    Args:
        objective: to check.
        model: from `build_model`.
        batch: from `build_batch`.

    Returns:
        the loss and its parts, scalars.
    """
    torch.manual_seed(2)
    losses: dict[str, Tensor] = objective(model, batch)
    return losses


def _values(losses: dict[str, Tensor]) -> dict[str, float]:
    return {part: loss.item() for part, loss in losses.items()}


def check_learning(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """Its loss falls by a tenth within MAX_STEPS steps.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=4e-3)
    first = seeded_losses(objective, model, batch)["loss"].item()
    for step in range(1, MAX_STEPS + 1):
        optimizer.zero_grad()
        objective(model, batch)["loss"].backward()
        optimizer.step()
        objective.on_step_end(model)
        if step % 15 == 0 and seeded_losses(objective, model, batch)["loss"].item() < 0.9 * first:
            return
    raise AssertionError(f"the loss of {first:.4f} does not fall by a tenth in {MAX_STEPS} steps")


def check_losses(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """The loss and each of its parts is a finite fp32 scalar, also under bf16 autocast.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    with torch.autocast("cpu", torch.bfloat16):
        losses = build()(new_model(), build_batch())
    for part, loss in losses.items():
        assert part == "loss" or part.startswith("loss/"), f"a part is called {part}, not loss/{part}"
        assert loss.shape == (), f"{part} has shape {tuple(loss.shape)}"
        assert loss.dtype is torch.float32, f"{part} is {loss.dtype}"
    assert losses["loss"].isfinite(), "the loss is not finite"


def check_repeatability(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """The same seed gives the same loss, and the batch is not changed.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    before = copy.deepcopy(batch)
    first, second = (_values(seeded_losses(objective, model, batch)) for _ in range(2))
    assert first == second, "the same seed gives a different loss"
    for modality, x in before.inputs.items():
        unchanged = tree_map(torch.equal, x, batch.inputs[modality])
        assert all(tree_leaves(unchanged)), f"the input of {modality} was changed"


def check_missing_rows(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """Rows without a modality have no influence on its loss.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    photo = batch.inputs["photo"]
    assert isinstance(photo, Tensor)
    batch.present["photo"][:3] = False
    first = _values(seeded_losses(objective, model, batch))
    photo[:3] = torch.rand(3, 1, 8, 8)
    assert _values(seeded_losses(objective, model, batch)) == first, "the content of a missing row changes the loss"


def check_missing_modality(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """A batch in which no row has one of the modalities has a finite loss.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    batch.present["sound"][:] = False
    loss = seeded_losses(objective, model, batch)["loss"]
    loss.backward()
    assert loss.isfinite(), "the loss of a batch without one of the modalities is not finite"


def check_gradients(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """Gradients reach all encoders and all parameters of the objective.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model = build(), new_model()
    objective(model, build_batch())["loss"].backward()
    parameters = [*objective.named_parameters(), *model.encoder.named_parameters()]
    without_gradient = [name for name, parameter in parameters if parameter.requires_grad and parameter.grad is None]
    tokens = ["title.mix.weight", "title.mix.bias"]  # only fusions and language models read tokens
    assert without_gradient in ([], tokens), f"no gradient for {', '.join(without_gradient)}"


def check_micro_batches(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """What moves with time moves once a step, in `on_step_end`: a step may be several forward passes.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    before = copy.deepcopy(objective.state_dict())
    objective(model, batch)["loss"].backward()
    for name, value in objective.state_dict().items():
        assert torch.equal(value, before[name]), f"forward changes {name}; change it in on_step_end"
    objective.on_step_end(model)


def check_weights(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """It weighs its means by the rows that they are over: with weights of 1 its loss is that without weights.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
        ConfigError: a mean is weighed by a name that is no task, mask or modality.
    """
    objective, model, batch = build(), new_model(), build_batch()
    expected = _values(seeded_losses(objective, model, batch))
    learner = Learner(model, objective)
    torch.manual_seed(2)
    prepared = learner.prepare(batch)
    counts = learner.count_visible(prepared)
    losses: dict[str, Tensor] = objective(model, learner.weigh(prepared, counts, counts))
    for part, loss in _values(losses).items():
        unweighed = expected[part]
        assert math.isclose(loss, unweighed, rel_tol=1e-4, abs_tol=1e-6), f"{part} is {loss:g}, not {unweighed:g}"


def check_no_synchronisation(build: BuildObjective, new_model: BuildModel = build_model) -> None:
    """A step does not wait for the device: it also runs on fake tensors, which have no values.

    Args:
        build: returns a new objective.
        new_model: returns a model for it.

    Raises:
        AssertionError: the contract is broken.
    """
    objective, model, batch = build(), new_model(), build_batch()
    with FakeTensorMode(allow_non_fake_inputs=True):
        objective(model, batch)["loss"].backward()


CHECKS = (
    check_learning,
    check_losses,
    check_repeatability,
    check_missing_rows,
    check_missing_modality,
    check_gradients,
    check_micro_batches,
    check_weights,
    check_no_synchronisation,
)
