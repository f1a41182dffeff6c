import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.distill import Distill, distillation_loss
from mmrun.objectives.task import Probe, Task
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.testing.examples import (
    DIMS,
    KINDS,
    TASKS,
    ConcatFusion,
    LinearEncoder,
    WordEncoder,
    build_batch,
    build_model,
)
from mmrun.training.learner import Learner
from tests.objectives import few_labels


def build(teacher_model, task=Task, **changes):
    """Build the objective; `teacher_model` is both the model at the start of the stage and that of a finished run."""
    optional_kwargs = {"tasks": TASKS, "kinds": KINDS, "dims": DIMS, "fusion_dim": 6, "model": teacher_model}
    return Distill(task, open_run=lambda run: teacher_model, **{**optional_kwargs, **changes})


def build_other(seed=5):
    teacher = build_model()
    torch.manual_seed(seed)
    for p in teacher.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return teacher


class WideSide(ConcatFusion):
    dim = 9


def build_wide():
    """Build a model whose encoders and fusion have other widths than the student's."""
    torch.manual_seed(3)
    encoders = {name: WordEncoder() if kind == "text" else LinearEncoder(kind) for name, kind in KINDS.items()}
    encoders["photo"].dim, encoders["photo"].linear = 12, torch.nn.Linear(64, 12)
    return Multimodal(encoders, WideSide(list(KINDS)), TASKS)


def test_at_temperature_one_a_teacher_that_is_certain_is_the_target():
    output, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    certain = 1e4 * F.one_hot(target, 3).float()
    for task in (TASKS["label"], Ordinal("label", ["a", "b", "c"], np.ones(3))):
        losses = distillation_loss(task, output, certain, 1.0)
        assert torch.allclose(losses, F.cross_entropy(output, target, reduction="none"))


def test_soft_answers_by_hand():
    output, target = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    p, q = (target / 2).softmax(1), (output / 2).softmax(1)
    divergence = (p * (p.log() - q.log())).sum()
    assert distillation_loss(TASKS["label"], output, target, 2.0).item() == pytest.approx(4 * divergence.item())
    labels = Multilabel("tags", ["a", "b"])
    each = F.binary_cross_entropy((output / 2).sigmoid(), (target / 2).sigmoid())
    assert distillation_loss(labels, output, target, 2.0).item() == pytest.approx(4 * each.item())
    assert distillation_loss(TASKS["age"], output, target, 2.0).item() == pytest.approx((4 + 16) / 2)


def test_alpha_stands_between_targets_and_teacher():
    learner, data = build_model(), build_batch()
    hard = Task(TASKS)(learner, data)["loss"].item()
    none, all_, half = (build(build_other(), alpha=alpha)(learner, data) for alpha in (0.0, 1.0, 0.5))
    assert none["loss"].item() == hard == none["loss/hard"].item()
    teacher_outputs = build_other()(data)
    soft = sum(
        distillation_loss(task, learner(data)[name], teacher_outputs[name], 4.0).mean() for name, task in TASKS.items()
    )
    assert all_["loss"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert half["loss"].item() == pytest.approx((hard + soft.item()) / 2, rel=1e-5)


def test_a_copy_of_the_model_teaches_nothing_and_stays_frozen():
    learner, data = build_model(), build_batch()
    objective = build(learner, match=["fused", "pooled", "tokens"])
    before = copy.deepcopy(list(objective.teacher.parameters()))
    losses = objective(learner, data)
    assert losses["loss/soft"].item() == pytest.approx(0, abs=1e-6)
    assert losses["loss/match"].item() == 0.0
    optimizer = torch.optim.SGD([p for p in Learner(learner, objective).parameters() if p.requires_grad], lr=0.1)
    losses["loss"].backward()
    optimizer.step()
    for parameter, copied in zip(objective.teacher.parameters(), before, strict=True):
        assert torch.equal(parameter, copied)
    assert objective(learner, data)["loss/soft"].item() > 0


def test_the_teacher_is_in_eval_mode_in_training_and_validation():
    learner = build_model()
    objective = build(learner)
    for mode in (True, False):
        objective.train(mode)
        assert not any(module.training for module in objective.teacher.modules())
    with torch.no_grad():
        assert objective.eval()(learner, build_batch())["loss"].isfinite()


def test_a_student_learns_from_a_teacher_what_few_labels_do_not_tell():
    teacher = few_labels.train(
        Task(few_labels.TASKS), few_labels.build_model(7), few_labels.draw_rows(600, 50, spread=1.5)
    )
    data, new = few_labels.draw_rows(300, 0, labelled=6, spread=1.5), few_labels.draw_rows(600, 1, spread=1.5)
    objective = build(teacher, teacher="big", fusion_dim=16, dims=few_labels.DIMS, alpha=0.9, **few_labels.KWARGS)
    taught = few_labels.train(objective, few_labels.build_model(), data)
    alone = few_labels.train(Task(few_labels.TASKS), few_labels.build_model(), data)
    assert few_labels.accuracy(taught, new) > few_labels.accuracy(alone, new) + 0.1


def test_a_fused_teacher_of_single_modalities():
    learner, data, teacher = build_model(), build_batch(), build_other()
    data.present["cells"][2:] = False
    losses = build(teacher, Probe, alpha=1.0)(learner, data)
    teacher_outputs, expected = teacher(data), 0.0
    for name in KINDS:
        alone = learner.forward_unimodal(data, name)
        rows = data.present[name]
        for t, task in TASKS.items():
            expected += distillation_loss(task, alone[t], teacher_outputs[t], 4.0)[rows].mean().item()
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)
    losses["loss"].backward()
    taught = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is not None}
    assert taught == {"encoder", "probe"}


def test_vectors_are_matched_through_a_map_where_widths_differ():
    learner, data, teacher = build_model(), build_batch(), build_wide()
    objective = build(teacher, teacher="run", match=["fused", "pooled"], match_weight=2.0, alpha=0.0)
    assert [tuple(p.shape) for p in objective.match.parameters()] == [(9, 6), (9,)]
    features, teacher_features = learner.encode(data.inputs), teacher.encode(data.inputs)
    fused, aim = learner.fusion(features, data.present), teacher.fusion(teacher_features, data.present)
    each = [(objective.match.project[0](fused) - aim).square().mean()]
    each += [(features[name].pooled - teacher_features[name].pooled).square().mean() for name in KINDS]
    losses = objective(learner, data)
    assert losses["loss/match"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(losses["loss/hard"].item() + 2 * losses["loss/match"].item())


def test_alone_a_pooled_vector_is_held_to_the_fused_one():
    learner, data, teacher = build_model(), build_batch(), build_other()
    objective = build(teacher, lambda **kwargs: Probe(**kwargs, modalities=["cells"]), match=["fused"], alpha=0.0)
    aim = teacher.fusion(teacher.encode(data.inputs), data.present)
    near = objective.match.project[0](learner.encoder["cells"](data.inputs["cells"]).pooled)
    assert objective(learner, data)["loss/match"].item() == pytest.approx((near - aim).square().mean().item())


def test_real_tokens_are_matched_one_by_one():
    learner, data, teacher = build_model(), build_batch(), build_other()
    losses = build(teacher, match=["tokens"])(learner, data)
    title = data.inputs["title"]
    student, target = learner.encoder["title"](title), teacher.encoder["title"](title)
    real = title["mask"]
    each = [(student.tokens[i][real[i]] - target.tokens[i][real[i]]).square().mean() for i in range(len(real))]
    assert losses["loss/match"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "objective.temperature: 0.0 is not above 0"),
        ({"alpha": 1.5}, "objective.alpha: 1.5 is not between 0 and 1"),
        ({"match": ["layers"]}, "objective.match: 'layers' is not one of fused, pooled, tokens"),
        (
            {"kinds": {"photo": "image"}},
            "objective: the fusion needs every modality, but for_each gives the stage only one; drop either",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        build(build_model(), **changes)
    assert str(caught.value) == message


def test_tokens_that_cannot_be_matched_are_an_error():
    learner = build_model(tokens=False)
    with pytest.raises(ConfigError) as caught:
        build(learner, match=["tokens"])(learner, build_batch())
    assert str(caught.value) == (
        "objective.match: no encoder has tokens in both the student and the teacher; match pooled instead"
    )
