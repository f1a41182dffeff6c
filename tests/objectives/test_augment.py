"""Augmented inputs: the contract of every YAML, and which rows and modalities are changed."""

import copy
from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmrun.compose import list_options
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.augment import Augment, Augmentations, Chain
from mmrun.objectives.augmentations.image import AugmentImage
from mmrun.objectives.augmentations.tabular import AugmentTabular
from mmrun.objectives.augmentations.text import AugmentText
from mmrun.objectives.task import Task
from mmrun.testing import augmentations
from mmrun.testing.examples import KINDS, METADATA, TASKS, build_batch, build_model
from mmrun.types import KINDS as ALL_KINDS
from mmrun.types import Augmentation, Objective
from tests.options import load_option

NAMES = [name for name in list_options("augment") if name != "none"]
BY_KIND = [(kind, name) for kind in ALL_KINDS for name in list_options(f"augment/{kind}")]


class Seen(Objective):
    """Records the batch that it gets, and the arguments of backward."""

    def forward(self, model, batch):
        self.batch = batch
        return {"loss": torch.zeros(())}

    def backward(self, model, losses, scale):
        self.backward_args = (model, losses, scale)


class Add(Augmentation):
    """Adds a number to each pixel."""

    kind = "image"

    def __init__(self, number=1.0, **metadata):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x + self.number


def build(name, objective):
    kwargs = {"kinds": KINDS, "metadata": METADATA}
    return Augment(objective, instantiate(load_option("augment", name), "augment", kwargs))


def augment(data, kinds=KINDS, **changes):
    return Augmentations(kinds, {modality: {} for modality in kinds}, **changes)(data).inputs


def get_seen_batch(name, data, seed=0):
    """Return the batch that the wrapped objective sees."""
    augment = build(name, Seen())
    torch.manual_seed(seed)
    augment(None, data)
    return augment.objective.batch


def get_parts(x):
    return x if isinstance(x, dict) else {"": x}


def flatten_inputs(data):
    return {(m, name): tensor for m, x in data.inputs.items() for name, tensor in get_parts(x).items()}


def test_all_augmentations_are_found():
    assert NAMES == ["light", "strong", "trivial"]
    assert [
        *(("image", name) for name in ("light", "strong", "trivial")),
        *(("text", name) for name in ("eda", "light", "strong", "typos")),
        *(("audio", name) for name in ("light", "specaugment", "strong")),
        *((kind, name) for kind in ("tabular", "series", "video", "points") for name in ("light", "strong")),
    ] == BY_KIND


@pytest.mark.parametrize("check", augmentations.CHECKS)
@pytest.mark.parametrize(("kind", "name"), BY_KIND)
def test_every_augmentation_passes_the_contract(kind, name, check):
    node = load_option(f"augment/{kind}", name)
    check(partial(instantiate, node, f"augment.{kind}", augmentations.build_metadata(kind)))


@pytest.mark.parametrize("name", NAMES)
def test_every_modality_is_changed_and_nothing_but_inputs(name):
    data = build_batch()
    before, augmented = copy.deepcopy(data), get_seen_batch(name, data)
    for key, tensor in flatten_inputs(before).items():
        assert flatten_inputs(data)[key].equal(tensor)  # the batch itself is not changed
    for modality in KINDS:
        original, changed = get_parts(data.inputs[modality]), get_parts(augmented.inputs[modality])
        assert any(not original[part].equal(changed[part]) for part in original)
    assert augmented[1:] == data[1:]


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_changes_no_augmentation(name):
    first = flatten_inputs(get_seen_batch(name, build_batch()))
    with torch.autocast("cpu", torch.bfloat16):
        half = flatten_inputs(get_seen_batch(name, build_batch()))
    assert all(first[key].equal(half[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_validation_sees_the_rows_as_they_are(name):
    learner, data = build_model(), build_batch()
    augment = build(name, Task(TASKS)).eval()
    expected = Task(TASKS)(learner, data)
    assert augment(learner, data) == expected
    assert augment.train()(learner, data)["loss"] != expected["loss"]


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name):
    learner, data, augment = build_model(), build_batch(), build(name, Task(TASKS))
    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors without values: nothing can depend on one
        augment(learner, data)["loss"].backward()


def test_gradients_are_those_of_the_wrapped_objective():
    augment = build("light", Seen())
    backward_args = (object(), {}, len)
    augment.backward(*backward_args)
    assert augment.objective.backward_args == backward_args
    assert list(augment.state_dict()) == []


def test_a_kind_without_an_augmentation_keeps_its_own_input():
    data = build_batch()
    inputs = augment(data, image=Add)
    assert inputs["title"] is data.inputs["title"]
    assert inputs["photo"].equal(data.inputs["photo"] + 1)


def test_rows_without_the_modality_keep_what_stands_there():
    data = build_batch()
    data.present["photo"][:3] = False
    change = augment(data, image=Add)["photo"] - data.inputs["photo"]
    assert change[:3].unique().tolist() == [0.0]
    assert change[3:].mean().item() == pytest.approx(1.0)


def test_a_modality_may_have_an_augmentation_of_its_own_or_none():
    data, kinds = build_batch("photo"), {"photo": "image", "scan": "image"}
    scan = data._replace(inputs={**data.inputs, "scan": data.inputs["photo"]})
    scan = scan._replace(present={**scan.present, "scan": scan.present["photo"]})
    own = augment(scan, kinds, image=Add, by_modality={"scan": partial(Add, number=2.0)})
    assert (own["scan"] - own["photo"]).mean().item() == pytest.approx(1.0)
    none = augment(scan, kinds, image=Add, by_modality={"scan": None})
    assert none["scan"] is scan.inputs["scan"]


def test_steps_of_a_chain_follow_each_other():
    steps = {"add": Add, "none": None, "double": partial(Add, number=2.0)}
    assert Chain(steps, {})(torch.zeros(1, 1, 1, 1)).item() == 3.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Augmentations({"photo": "image"}, {"photo": {}}, image=lambda metadata: AugmentText()),
            "augment.image: AugmentText augments text, not image",
        ),
        (
            lambda: Augmentations({"a": "text"}, {"a": {}}, by_modality={"a": lambda metadata: AugmentImage()}),
            "augment.by_modality.a: AugmentImage augments image, not text",
        ),
        (lambda: Chain({}, {}), "steps: needs augmentations of one kind, not none"),
        (
            lambda: Chain({"a": Add, "b": lambda metadata: AugmentTabular()}, {}),
            "steps: needs augmentations of one kind, not image, tabular",
        ),
    ],
)
def test_augmentations_of_another_kind_are_refused(build, message):
    with pytest.raises(ConfigError) as error:
        build()
    assert str(error.value) == message
