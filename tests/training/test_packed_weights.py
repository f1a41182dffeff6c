"""Weights in little space: every bit comes back, and parts that do not fit are refused."""

import pytest
import torch

from mmrun.training.packed_weights import pack, unpack


def count_bytes(tensors):
    return sum(tensor.nbytes for tensor in tensors.values())


@pytest.mark.parametrize("clusters", [1, 2, 3, 16, 100, 256])
def test_shared_values_are_stored_as_codes(clusters):
    torch.manual_seed(0)
    weight = torch.randn(clusters)[torch.randint(clusters, (64, 33))]
    packed = pack({"a.weight": weight})
    assert set(packed) == {"a.weight/codes", "a.weight/codebook", "a.weight/shape"}
    assert unpack(packed)["a.weight"].equal(weight)
    assert count_bytes(packed) < 64 * 33 * 8 / 8 + 256 * 4 + 100


def test_sixteen_values_take_an_eighth():
    weight = torch.arange(16.0)[torch.randint(16, (100, 100))]
    assert count_bytes(pack({"weight": weight})) == 5_000 + 16 * 4 + 16


def test_sparse_weights_are_stored_as_a_bitmap_and_values():
    torch.manual_seed(0)
    weight = torch.randn(40, 50) * (torch.rand(40, 50) < 0.25)
    packed = pack({"weight": weight})
    assert set(packed) == {"weight/bitmap", "weight/values", "weight/shape"}
    assert unpack(packed)["weight"].equal(weight)


def test_everything_else_stays_as_it_is():
    tensors = {"weight": torch.randn(20, 20), "count": torch.tensor(3), "half": torch.zeros(100, dtype=torch.float16)}
    assert pack(tensors) == tensors
    assert unpack(tensors) == tensors


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("shape", torch.tensor([2**40, 2**40])),
        ("shape", torch.tensor([-1, 4])),
        ("shape", torch.tensor([100, 101])),
        ("codebook", torch.zeros(0)),
        ("codebook", torch.zeros(9)),
        ("codes", torch.zeros(2, dtype=torch.uint8)),
        ("codes", torch.full((5000,), 255, dtype=torch.uint8)),
        ("values", torch.zeros(3)),
    ],
)
def test_parts_that_do_not_fit_are_refused(part, value):
    weight = torch.arange(10.0)[torch.arange(10_000).view(100, 100) % 10]
    packed = pack({"weight": weight})
    with pytest.raises(ValueError, match="weight: its"):
        unpack({**packed, f"weight/{part}": value})
