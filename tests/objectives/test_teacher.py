"""Teachers are frozen, and one averages the weights of its student."""

import torch

from mmrun.objectives.teacher import EMACopy, EMATeacher, freeze_copy
from mmrun.testing.examples import build_batch, build_model


def test_a_frozen_copy_does_not_follow_its_model():
    model, data = build_model(), build_batch()
    teacher = freeze_copy(model)
    before = teacher(data).fused
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert teacher(data).fused.equal(before)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert model.training


def test_a_teacher_stays_in_eval_mode():
    teacher = freeze_copy(build_model()).train()
    assert not any(module.training for module in teacher.modules())


def test_an_average_moves_a_share_of_the_way_to_its_student():
    model = build_model()
    teacher = EMATeacher(model)
    weight = model.encoder["photo"].linear.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    teacher.update(model, torch.tensor(0.25))
    torch.testing.assert_close(teacher.model.encoder["photo"].linear.weight, before + 0.25)


def test_batch_norms_of_a_copy_may_use_the_statistics_of_the_batch():
    norm, x = torch.nn.BatchNorm1d(1), torch.tensor([[1.0], [3.0]])
    running, of_batch = EMACopy(norm), EMACopy(norm, batch_statistics=True)
    expected = torch.tensor([[-1.0], [1.0]])
    assert not torch.allclose(running(x), expected, atol=1e-2)
    torch.testing.assert_close(of_batch(x), expected, atol=1e-4, rtol=0)
    of_batch.update(norm, 0.5)  # running statistics of the module stay out of it
    torch.testing.assert_close(of_batch(x), expected, atol=1e-4, rtol=0)
