import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmrun.errors import ConfigError
from mmrun.objectives.modality_shuffle import ModalityShuffle, group_equal_targets, shuffle_within
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model
from mmrun.types import Batch

LABEL = {"label": TASKS["label"]}


def build(kinds=KINDS, tasks=LABEL, **changes):
    return ModalityShuffle(Task, tasks, kinds, **{"probability": 1.0, **changes})


def make_batch(rows=40):
    """Return rows of two classes, whose inputs are the numbers of the rows."""
    numbers = torch.arange(rows)
    present = {"a": torch.ones(rows, dtype=torch.bool), "b": numbers % 5 > 0}
    inputs = {"a": numbers.float(), "b": {"values": numbers.float(), "mask": numbers % 5 > 0}}
    return Batch(inputs, present, {"label": numbers % 2}, numbers + 100)


def test_modalities_come_from_rows_of_the_same_class():
    torch.manual_seed(0)
    batch = make_batch()
    prepared = build({"a": "image", "b": "series"}).prepare(batch)
    for values in (prepared.inputs["a"], prepared.inputs["b"]["values"]):
        assert (values % 2 == batch.targets["label"]).all()
        assert sorted(values.tolist()) == list(range(40))  # a permutation
        assert (values != torch.arange(40)).sum() > 30
    assert prepared.targets is batch.targets
    assert prepared.index is batch.index


def test_whether_a_row_has_a_modality_moves_with_it():
    torch.manual_seed(0)
    prepared = build({"a": "image", "b": "series"}).prepare(make_batch())
    assert prepared.present["b"].equal(prepared.inputs["b"]["values"] % 5 > 0)
    assert prepared.present["b"].equal(prepared.inputs["b"]["mask"])


def test_modalities_that_are_not_named_stay():
    batch = make_batch()
    prepared = build({"a": "image", "b": "series"}, modalities=["b"]).prepare(batch)
    assert prepared.inputs["a"] is batch.inputs["a"]
    assert not prepared.inputs["b"]["values"].equal(batch.inputs["b"]["values"])


def test_rows_with_hidden_targets_or_other_labels_are_alone():
    label, tags = (
        torch.tensor([0, 0, -100, 1, -100, 0]),
        torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0], [1, 0], [1, 1]]),
    )
    assert group_equal_targets({"label": label}).tolist() == [0, 0, 2, 3, 4, 0]
    assert group_equal_targets({"label": label, "tags": tags}).tolist() == [0, 0, 2, 3, 4, 5]
    tags[1, 0] = float("nan")
    assert group_equal_targets({"label": label, "tags": tags}).tolist() == [0, 1, 2, 3, 4, 5]


def test_every_permutation_of_a_group_is_as_likely():
    torch.manual_seed(0)
    group, everyone = torch.tensor([0, 1, 0, 1, 0]), torch.ones(5, dtype=torch.bool)
    drawn = torch.stack([shuffle_within(group, everyone) for _ in range(6000)])
    assert drawn[:, [1, 3]].sort(1).values.unique(dim=0).tolist() == [[1, 3]]
    _, counts = drawn[:, [0, 2, 4]].unique(dim=0, return_counts=True)
    assert counts.tolist() == pytest.approx([1000] * 6, abs=120)
    assert shuffle_within(group, torch.zeros(5, dtype=torch.bool)).tolist() == [0, 1, 2, 3, 4]


def test_rows_with_modalities_of_several_rows_are_counted_once_a_step():
    torch.manual_seed(0)
    objective, batch = build({"a": "image", "b": "series"}), make_batch()
    prepared = objective.prepare(batch)
    has_both = prepared.present["b"]
    is_new = has_both & (prepared.inputs["a"] != prepared.inputs["b"]["values"])
    objective.on_step_end(build_model())
    assert objective.synthetic.total.item() == is_new.sum().item()
    objective.on_step_end(build_model())
    assert objective.synthetic.total.item() == is_new.sum().item()


def test_validation_sees_the_rows_as_they_are():
    model, batch = build_model(), build_batch()
    objective = build().eval()
    assert objective(model, batch)["loss"].item() == Task(LABEL, KINDS)(model, batch)["loss"].item()
    assert objective.synthetic.in_step.item() == 0


def measure_accuracy(probability, seed):
    """Return the test accuracy of a bilinear model of a and b, which learned from ten rows of each of two classes."""
    generator = torch.Generator().manual_seed(seed)
    means = 0.7 * torch.randn(2, 2, 8, generator=generator)  # by modality and class

    def draw_rows(count):
        classes = torch.arange(count) % 2
        a, b = (of_class[classes] + torch.randn(count, 8, generator=generator) for of_class in means)
        return a, b, classes

    a, b, classes = draw_rows(20)
    test_a, test_b, test_classes = draw_rows(2000)
    torch.manual_seed(seed)
    first, second, head = nn.Linear(8, 64), nn.Linear(8, 64), nn.Linear(64, 2)
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters(), *head.parameters()], lr=1e-2)
    objective = build({"a": "series", "b": "series"}, probability=probability)
    present = dict.fromkeys("ab", torch.ones(20, dtype=torch.bool))
    batch = Batch({"a": a, "b": b}, present, {"label": classes}, torch.arange(20))
    for _ in range(100):
        x = objective.prepare(batch).inputs
        loss = F.cross_entropy(head(first(x["a"]) * second(x["b"])), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (head(first(test_a) * second(test_b)).argmax(1) == test_classes).float().mean().item()


def test_it_wins_where_modalities_are_independent_given_the_class():
    true_pairs, shuffled = ([measure_accuracy(share, seed) for seed in range(3)] for share in (0.0, 1.0))
    assert all(more > less + 0.01 for less, more in zip(true_pairs, shuffled, strict=True))


@pytest.mark.parametrize(
    ("kinds", "tasks", "changes", "message"),
    [
        ({"a": "image"}, LABEL, {}, "objective: modality_shuffle needs two modalities, and the stage reads a"),
        (
            {"a": "image", "b": "text"},
            {"age": TASKS["age"]},
            {},
            "objective: modality_shuffle needs classes, and age is a regression; choose mixup",
        ),
        (
            {"image": "image", "text": "text"},
            LABEL,
            {"modalities": ["imag"]},
            "objective.modalities.imag: no such modality; did you mean 'image'? (there are image, text)",
        ),
        (
            {"a": "image", "b": "text"},
            LABEL,
            {"modalities": []},
            "objective.modalities: names none of a, b; leave it out to choose all",
        ),
    ],
)
def test_what_it_cannot_shuffle_is_refused(kinds, tasks, changes, message):
    with pytest.raises(ConfigError) as error:
        build(kinds, tasks, **changes)
    assert str(error.value) == message
