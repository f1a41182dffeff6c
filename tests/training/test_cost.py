import torch

from mmrun.training.cost import count_parameters, flops_per_step, peak_memory
from mmrun.training.learner import Learner
from tests.training.line import Line, Rows, Squares


def test_operations_of_a_line_are_those_on_paper():
    """Four rows through a 1 x 1 product: 8 forward, 8 for the weight's gradient; the input needs none."""
    learner = Learner(Line(), Squares())
    assert flops_per_step(learner, Rows().batch(0)) == 16
    assert learner.model.line.weight.grad is None


def test_scalars_are_counted():
    assert count_parameters(Line().parameters()) == 2


def test_peak_memory_of_a_cpu_is_in_bytes():
    assert 10e6 < peak_memory(torch.device("cpu")) < 1e12
