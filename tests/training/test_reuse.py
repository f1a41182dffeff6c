import pytest
import torch

from mmrun.testing.examples import build_batch, build_model
from mmrun.training import reuse


@pytest.mark.parametrize(
    ("parameter", "part"),
    [
        ("encoder.image.conv.weight", "encoder.image"),
        ("fusion.project.image.bias", "fusion"),
        ("head.label.weight", "head.label"),
        ("probe.image.label.weight", "probe.image"),
    ],
)
def test_each_parameter_belongs_to_a_part(parameter, part):
    assert reuse.part_of(parameter) == part


def test_equal_determinants_have_equal_keys_in_any_order():
    assert reuse.result_key({"a": 1, "b": [2]}) == reuse.result_key({"b": [2], "a": 1})
    assert reuse.result_key({"a": 1}) != reuse.result_key({"a": 2})


def test_a_digest_knows_names_bits_and_no_order():
    zeros, ones = torch.zeros(2), torch.ones(2)
    assert reuse.tensor_digest({"a": zeros, "b": ones}) == reuse.tensor_digest({"b": ones, "a": zeros})
    assert reuse.tensor_digest({"a": zeros}) != reuse.tensor_digest({"b": zeros})
    assert reuse.tensor_digest({"a": torch.tensor(0.0)}) != reuse.tensor_digest({"a": torch.tensor(-0.0)})


def test_parts_that_run_are_recorded():
    model = build_model("cells", "sensor")
    with reuse.record_used_parts(model) as used:
        model.forward_unimodal(build_batch("cells", "sensor"), "cells")
    assert used == {"encoder.cells", "probe.cells"}


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda targets: len(targets), False),
        (lambda targets: targets["label"], True),
        (lambda targets: targets.get("label"), True),
        (lambda targets: dict(targets), True),
        (lambda targets: {**targets}, True),
        (lambda targets: {} | targets, True),
        (lambda targets: list(targets.items()), True),
        (lambda targets: [name for name in targets], True),  # noqa: C416
    ],
)
def test_it_is_recorded_whether_targets_are_read(read, expected):
    targets = reuse.RecordedTargets({"label": torch.zeros(2)})
    read(targets)
    assert targets.were_read is expected
