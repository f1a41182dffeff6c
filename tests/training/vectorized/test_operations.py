import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mmrun.models.encoders.convolution import Convolutions
from mmrun.models.encoders.logmel import LogMel
from mmrun.models.encoders.tabular import Categories
from mmrun.training.vectorized.operations import StackedOperations


def assert_equal_stacked(models, inputs):
    """Compare outputs, gradients and buffers of models with those of their stack."""
    parameters, buffers = stack_module_state(models)

    def compute(parameters, buffers, x):
        return functional_call(models[0], (parameters, buffers), (x,))

    with StackedOperations():
        outputs = vmap(compute)(parameters, buffers, inputs)
    outputs.square().sum().backward()
    for number, model in enumerate(models):
        expected = model(inputs[number])
        torch.testing.assert_close(outputs[number], expected, rtol=1e-4, atol=1e-5)
        expected.square().sum().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameters[name].grad[number], parameter.grad, rtol=1e-3, atol=1e-3)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name][number], buffer)


@pytest.mark.parametrize("training", [True, False])
def test_convolution_pooling_and_batch_norm_are_those_of_each_model(training):
    models = [Convolutions(2, [4, 6], [3, 5]).train(training) for _ in range(3)]
    assert_equal_stacked(models, torch.randn(3, 5, 2, 9, 8))


def test_strides_groups_and_biases_of_convolutions():
    models = [nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding="valid", groups=2), nn.MaxPool2d(2)) for _ in range(3)]
    assert_equal_stacked(models, torch.randn(3, 5, 4, 9, 8))


def test_batch_norm_of_vectors():
    assert_equal_stacked([nn.BatchNorm1d(4).train() for _ in range(3)], torch.randn(3, 5, 4))


def test_spectrograms():
    sounds = torch.randn(3, 2, 1024)
    logmel = LogMel(8000, n_mels=8)
    with StackedOperations():
        stacked = vmap(logmel)(sounds)
    torch.testing.assert_close(stacked[1], logmel(sounds[1]))


def test_a_table_without_categories():
    with StackedOperations():
        embedded = vmap(Categories([], 4))(torch.zeros(3, 5, 0, dtype=torch.long))
    assert embedded.shape == (3, 5, 0, 4)
