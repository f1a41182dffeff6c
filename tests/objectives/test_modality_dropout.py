import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.models.fusions.presence import drop_modalities
from mmrun.objectives.modality_dropout import ModalityDropout
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model


def build(rate):
    return ModalityDropout(lambda tasks, kinds: Task(tasks), TASKS, KINDS, rate)


def build_present(rows, **missing):
    return {name: torch.full((rows,), name not in missing) for name in ("a", "b", "c")}


def test_at_rate_zero_it_is_the_task_itself():
    learner, data = build_model(), build_batch()
    assert build(0.0)(learner, data)["loss"].item() == Task(TASKS)(learner, data)["loss"].item()


def test_validation_sees_the_rows_as_they_are():
    learner, data = build_model(), build_batch()
    assert build(0.9).eval()(learner, data)["loss"].item() == Task(TASKS)(learner, data)["loss"].item()


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_a_row_keeps_at_least_one_modality_and_gains_none(rate):
    torch.manual_seed(0)
    before = build_present(500) | {"b": torch.arange(500) % 2 == 0}
    after = drop_modalities(before, rate)
    assert list(after) == ["a", "b", "c"]
    assert torch.stack(list(after.values())).any(0).all()
    assert not (after["b"] & ~before["b"]).any()
    if rate == 1.0:
        assert torch.stack(list(after.values())).sum(0).eq(1).all()


def test_at_one_half_the_subsets_come_as_often_as_they_should():
    torch.manual_seed(0)
    after = drop_modalities(build_present(80_000), 0.5)
    number = (after["a"] * 1 + after["b"] * 2 + after["c"] * 4).bincount(minlength=8) / 80_000
    single, several = 1 / 8 + 1 / 24, 1 / 8
    assert number.tolist() == pytest.approx([0, single, single, several, single, several, several, several], abs=0.005)


def test_a_row_that_has_nothing_stays_as_it_is():
    nothing = {name: torch.zeros(4, dtype=torch.bool) for name in ("a", "b")}
    assert not any(rows.any() for rows in drop_modalities(nothing, 0.5).values())


def test_a_rate_that_is_no_share_is_refused():
    with pytest.raises(ConfigError) as caught:
        build(1.5)
    assert str(caught.value) == "objective.drop_prob: 1.5 is not between 0 and 1"
