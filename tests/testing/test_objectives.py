"""The contract checks of objectives find what breaks the contract."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException

from mmrun.errors import ConfigError
from mmrun.objectives.task import Task
from mmrun.testing.examples import TASKS
from mmrun.testing.objectives import (
    CHECKS,
    check_gradients,
    check_learning,
    check_losses,
    check_micro_batches,
    check_missing_modality,
    check_missing_rows,
    check_no_synchronisation,
    check_repeatability,
    check_weights,
)


class Objective(Task):
    """The loss of the tasks, changed."""

    def __init__(self):
        super().__init__(TASKS)

    def forward(self, model, batch):
        losses = super().forward(model, batch)
        return {"loss": self.change(losses["loss"], batch)}


class Constant(Objective):
    def change(self, loss, batch):
        return 0 * loss + 1


class Vector(Objective):
    def change(self, loss, batch):
        return loss.expand(2)


class Forgetful(Objective):
    calls = 0

    def change(self, loss, batch):
        self.calls += 1
        return loss + self.calls


class Leaky(Objective):
    def change(self, loss, batch):
        return loss + batch.inputs["photo"].mean()


class Average(Objective):
    def change(self, loss, batch):
        return loss + 1 / batch.present["sound"].sum() * 0


class Idle(Objective):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def change(self, loss, batch):
        return loss


class Restless(Objective):
    def __init__(self):
        super().__init__()
        self.register_buffer("step", torch.zeros(()))

    def change(self, loss, batch):
        self.step += 1
        return loss


class Misspelt(Objective):
    def change(self, loss, batch):
        return batch.weigh(loss, "labell")


class Waits(Objective):
    def change(self, loss, batch):
        return loss if loss.item() > 0 else loss + 1


def test_the_loss_of_the_tasks_passes():
    for check in CHECKS:
        check(lambda: Task(TASKS))


@pytest.mark.parametrize(
    ("objective", "check"),
    [
        (Constant, check_learning),
        (Vector, check_losses),
        (Forgetful, check_repeatability),
        (Leaky, check_missing_rows),
        (Average, check_missing_modality),
        (Idle, check_gradients),
        (Restless, check_micro_batches),
    ],
)
def test_a_broken_objective_is_found(objective, check):
    with pytest.raises(AssertionError):
        check(objective)


def test_a_mean_over_an_unknown_task_is_found():
    with pytest.raises(ConfigError) as caught:
        check_weights(Misspelt)
    assert str(caught.value) == "Batch.weigh: 'labell' is no task, mask or modality of the stage"


def test_a_step_that_waits_for_the_device_is_found():
    with pytest.raises(DataDependentOutputException):
        check_no_synchronisation(Waits)
