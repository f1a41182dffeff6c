import torch
from accelerate import Accelerator

from mmrun.objectives.balance.step_mean import StepMean
from mmrun.training.grad_accumulation import GradientAccumulator
from mmrun.training.learner import Learner
from mmrun.types import Objective
from tests.training.line import Line, Rows


def test_the_mean_is_over_all_values_of_a_step():
    step_mean = StepMean((2,), (2,))
    step_mean.add(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.0]))
    step_mean.add(torch.tensor([5.0, 0.0]), torch.tensor([2.0, 0.0]))
    mean, is_counted = step_mean.pop()
    assert (mean.tolist(), is_counted.tolist()) == ([2.0, 0.0], [True, False])
    assert step_mean.pop()[1].tolist() == [False, False]
    assert step_mean.state_dict() == {}


def test_a_step_that_is_skipped_leaves_nothing():
    class Collecting(Objective):
        def __init__(self):
            super().__init__()
            self.step_mean = StepMean((), ())

        def forward(self, model, batch):
            self.step_mean.add(torch.tensor(7.0), torch.tensor(1.0))
            return {"loss": (model(batch)["label"] - batch.targets["y"]).square().mean()}

    objective = Collecting()
    gradients = GradientAccumulator(Learner(Line(), objective), Accelerator(cpu=True), 2, print)
    gradients.add(Rows().batch(0))
    assert objective.step_mean.count.item() == 2
    gradients.discard()
    assert objective.step_mean.count.item() == 0
