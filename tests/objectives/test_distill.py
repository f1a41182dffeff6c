import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmrun.errors import ConfigError
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.distill import Distill, apart
from mmrun.objectives.task import Probe, Task
from mmrun.tasks.multilabel import Multilabel
from mmrun.tasks.ordinal import Ordinal
from mmrun.testing.examples import DIMS, KINDS, TASKS, ConcatFusion, LinearEncoder, WordEncoder
from mmrun.testing.examples import build_batch as batch
from mmrun.testing.examples import build_model as model
from mmrun.training.learner import Learner
from tests.objectives import few_labels


def build(known, task=Task, **changes):
    """Make the objective; `known` is the model as the stage finds it, and what a run's name gives."""
    offer = {"tasks": TASKS, "kinds": KINDS, "dims": DIMS, "fusion_dim": 6, "model": known}
    return Distill(task, open_run=lambda run: known, **{**offer, **changes})


def other(seed=5):
    made = model()
    torch.manual_seed(seed)
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return made


class WideSide(ConcatFusion):
    dim = 9


def wide():
    """Encoders and fusion of other widths than the student's."""
    torch.manual_seed(3)
    encoders = {name: WordEncoder() if kind == "text" else LinearEncoder(kind) for name, kind in KINDS.items()}
    encoders["photo"].dim, encoders["photo"].linear = 12, torch.nn.Linear(64, 12)
    return Multimodal(encoders, WideSide(list(KINDS)), TASKS)


def test_at_temperature_one_a_teacher_that_is_certain_is_the_target():
    output, target = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    certain = 1e4 * F.one_hot(target, 3).float()
    for task in (TASKS["label"], Ordinal("label", ["a", "b", "c"], np.ones(3))):
        found = apart(task, output, certain, 1.0)
        assert torch.allclose(found, F.cross_entropy(output, target, reduction="none"))


def test_soft_answers_by_hand():
    output, wanted = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    p, q = (wanted / 2).softmax(1), (output / 2).softmax(1)
    divergence = (p * (p.log() - q.log())).sum()
    assert apart(TASKS["label"], output, wanted, 2.0).item() == pytest.approx(4 * divergence.item())
    labels = Multilabel("tags", ["a", "b"])
    each = F.binary_cross_entropy((output / 2).sigmoid(), (wanted / 2).sigmoid())
    assert apart(labels, output, wanted, 2.0).item() == pytest.approx(4 * each.item())
    assert apart(TASKS["age"], output, wanted, 2.0).item() == pytest.approx((4 + 16) / 2)


def test_alpha_stands_between_targets_and_teacher():
    learner, data = model(), batch()
    hard = Task(TASKS)(learner, data)["loss"].item()
    none, all_, half = (build(other(), alpha=alpha)(learner, data) for alpha in (0.0, 1.0, 0.5))
    assert none["loss"].item() == hard == none["loss/hard"].item()
    said = other()(data)
    soft = sum(apart(task, learner(data)[name], said[name], 4.0).mean() for name, task in TASKS.items())
    assert all_["loss"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert half["loss"].item() == pytest.approx((hard + soft.item()) / 2, rel=1e-5)


def test_one_s_own_copy_has_nothing_to_teach_and_stays_as_it_is():
    learner, data = model(), batch()
    objective = build(learner, match=["fused", "pooled", "tokens"])
    before = [p.clone() for p in objective.teacher.parameters()]
    losses = objective(learner, data)
    assert losses["loss/soft"].item() == pytest.approx(0, abs=1e-6)
    assert losses["loss/match"].item() == 0.0
    optimizer = torch.optim.SGD([p for p in Learner(learner, objective).parameters() if p.requires_grad], lr=0.1)
    losses["loss"].backward()
    optimizer.step()
    assert all(torch.equal(now, then) for now, then in zip(objective.teacher.parameters(), before, strict=True))
    assert objective(learner, data)["loss/soft"].item() > 0


def test_the_teacher_is_in_eval_mode_in_training_and_validation():
    learner = model()
    objective = build(learner)
    for mode in (True, False):
        objective.train(mode)
        assert not any(module.training for module in objective.teacher.modules())
    with torch.no_grad():
        assert objective.eval()(learner, batch())["loss"].isfinite()


def test_a_student_learns_from_a_teacher_what_few_labels_do_not_tell():
    teacher = few_labels.train(Task(few_labels.TASKS), few_labels.model(7), few_labels.rows(600, 50, spread=1.5))
    data, new = few_labels.rows(300, 0, labelled=6, spread=1.5), few_labels.rows(600, 1, spread=1.5)
    objective = build(teacher, teacher="big", fusion_dim=16, dims=few_labels.DIMS, alpha=0.9, **few_labels.OFFER)
    taught = few_labels.train(objective, few_labels.model(), data)
    alone = few_labels.train(Task(few_labels.TASKS), few_labels.model(), data)
    assert few_labels.accuracy(taught, new) > few_labels.accuracy(alone, new) + 0.1


def test_a_fused_teacher_of_single_modalities():
    learner, data, teacher = model(), batch(), other()
    data.present["cells"][2:] = False
    losses = build(teacher, Probe, alpha=1.0)(learner, data)
    said, expected = teacher(data), 0.0
    for name in KINDS:
        alone = learner.unimodal(data, name)
        here = data.present[name]
        expected += sum(apart(task, alone[t], said[t], 4.0)[here].mean().item() for t, task in TASKS.items())
    assert losses["loss"].item() == pytest.approx(expected, rel=1e-5)
    losses["loss"].backward()
    taught = {name.split(".")[0] for name, p in learner.named_parameters() if p.grad is not None}
    assert taught == {"encoder", "probe"}


def test_vectors_are_matched_through_a_map_where_widths_differ():
    learner, data, teacher = model(), batch(), wide()
    objective = build(teacher, teacher="run", match=["fused", "pooled"], match_weight=2.0, alpha=0.0)
    assert [tuple(p.shape) for p in objective.match.parameters()] == [(9, 6), (9,)]
    features, theirs = learner.encode(data.inputs), teacher.encode(data.inputs)
    fused, aim = learner.fusion(features, data.present), teacher.fusion(theirs, data.present)
    each = [(objective.match.project[0](fused) - aim).square().mean()]
    each += [(features[name].pooled - theirs[name].pooled).square().mean() for name in KINDS]
    losses = objective(learner, data)
    assert losses["loss/match"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx(losses["loss/hard"].item() + 2 * losses["loss/match"].item())


def test_alone_a_pooled_vector_is_held_to_the_fused_one():
    learner, data, teacher = model(), batch(), other()
    objective = build(teacher, lambda **given: Probe(**given, modalities=["cells"]), match=["fused"], alpha=0.0)
    aim = teacher.fusion(teacher.encode(data.inputs), data.present)
    near = objective.match.project[0](learner.encoder["cells"](data.inputs["cells"]).pooled)
    assert objective(learner, data)["loss/match"].item() == pytest.approx((near - aim).square().mean().item())


def test_real_tokens_are_matched_one_by_one():
    learner, data, teacher = model(), batch(), other()
    losses = build(teacher, match=["tokens"])(learner, data)
    own, theirs = learner.encoder["title"](data.inputs["title"]), teacher.encoder["title"](data.inputs["title"])
    real = data.inputs["title"]["mask"]
    each = [(own.tokens[i][real[i]] - theirs.tokens[i][real[i]]).square().mean() for i in range(len(real))]
    assert losses["loss/match"].item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "objective.temperature: 0.0 is not above 0"),
        ({"alpha": 1.5}, "objective.alpha: 1.5 is not between 0 and 1"),
        ({"match": ["layers"]}, "objective.match: 'layers' is not one of fused, pooled, tokens"),
        (
            {"kinds": {"photo": "image"}},
            "objective: the fusion needs every modality, and for_each gives one; drop either",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError) as caught:
        build(model(), **changes)
    assert str(caught.value) == message


def test_tokens_that_cannot_be_matched_are_said_so():
    learner = model(tokens=False)
    with pytest.raises(ConfigError) as caught:
        build(learner, match=["tokens"])(learner, batch())
    assert str(caught.value) == (
        "objective.match: no encoder of both student and teacher has tokens; match pooled instead"
    )
