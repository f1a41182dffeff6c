"""Contract checks for augmentations. The first line of a check is printed as what it checks."""

import copy
import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.testing.examples import ENCODER_METADATA, encoder_input
from mmrun.types import Augmentation, Input

BuildAugmentation = Callable[[], Augmentation]

# Of few letters, so that they give more subwords than the 60 of the examples
WORDS = (
    "tone note stone notes tones onset nest test sent nets eons tent toss toes nose noses teens tests seen soon stones "
    "tense sonnet"
)
RANGES = {"image": (0.0, 1.0), "video": (0.0, 1.0), "audio": (-1.0, 1.0)}  # of pixels and samples


@functools.cache
def build_metadata(kind: str) -> dict[str, object]:
    """Return the arguments that a preprocessor of a kind offers to augmentations.

    Args:
        kind: of the modality.
    """
    if kind != "text":
        return ENCODER_METADATA[kind]
    tokens = Tokens(vocab_size=60, max_tokens=12)
    tokens.fit(Column(kind, [WORDS]), np.arange(1))
    return tokens.metadata


def augment(augmentation: Augmentation, seed: int = 0) -> dict[str, Tensor]:
    """Augment an example of its kind: rows of full length, of half of it, and without content.

    Args:
        augmentation: to check.
        seed: of the random numbers.

    Returns:
        The parts of the input by name, a plain tensor named "".
    """
    torch.manual_seed(seed)
    return _get_parts(augmentation(encoder_input(augmentation.kind)))


def _get_parts(x: Input) -> dict[str, Tensor]:
    return x if isinstance(x, dict) else {"": x}


def check_shapes(build: BuildAugmentation) -> None:
    """Shapes, types and names are those of the input, which is not changed itself.

    Args:
        build: returns a new augmentation.

    Raises:
        AssertionError: the contract is broken.
    """
    augmentation = build()
    x = encoder_input(augmentation.kind)
    before, augmented = copy.deepcopy(_get_parts(x)), _get_parts(augmentation(x))
    assert augmented.keys() == before.keys(), f"the parts are {', '.join(augmented)}, not {', '.join(before)}"
    for name, part in before.items():
        assert torch.equal(_get_parts(x)[name], part), f"the input itself was changed (part {name!r})"
        actual, expected = (tuple(augmented[name].shape), augmented[name].dtype), (tuple(part.shape), part.dtype)
        assert actual == expected, f"part {name!r} is {actual}, not {expected}"


def check_range(build: BuildAugmentation) -> None:
    """Values are finite and in the range of their kind: pixels in 0..1, samples in -1..1.

    Args:
        build: returns a new augmentation.

    Raises:
        AssertionError: the contract is broken.
    """
    augmentation = build()
    for seed in range(5):
        for name, part in augment(augmentation, seed).items():
            assert part.isfinite().all(), f"part {name!r} is not finite"
            low, high = RANGES.get(augmentation.kind, (-torch.inf, torch.inf))
            if part.is_floating_point():
                in_range = low <= part.min() <= part.max() <= high
                assert in_range, f"part {name!r} has values outside of {low:g}..{high:g}"


def check_padding(build: BuildAugmentation) -> None:
    """Padding stays padding, behind what is real; missing cells stay missing, and a row without content has none.

    Args:
        build: returns a new augmentation.

    Raises:
        AssertionError: the contract is broken.
    """
    augmentation = build()
    if augmentation.kind in ("image", "video"):
        return
    before = _get_parts(encoder_input(augmentation.kind))
    for seed in range(5):
        parts = augment(augmentation, seed)
        if augmentation.kind == "tabular":
            assert not (before["missing"] & ~parts["missing"]).any(), "a missing number is not missing any more"
            assert not parts["numeric"][parts["missing"]].any(), "a missing number is not 0"
            continue
        name = {"text": "ids", "audio": "waveform", "series": "values", "points": "points"}[augmentation.kind]
        real = parts["mask"] if "mask" in parts else _to_mask(parts["length"], parts["waveform"].shape[1])
        if augmentation.kind != "points":  # which have no order
            assert not (~real[:, :-1] & real[:, 1:]).any(), "something real follows padding"
        assert not real[2].any(), "a row without content has some"
        padding = ~real.unsqueeze(1) if name in ("values", "points") else ~real
        assert not parts[name].masked_select(padding).any(), f"the padding of {name} is not 0"


def _to_mask(length: Tensor, size: int) -> Tensor:
    return torch.arange(size) < length.unsqueeze(1)


def check_repeatability(build: BuildAugmentation) -> None:
    """The same state of torch's generator gives the same result, another one another; there is no state of its own.

    Args:
        build: returns a new augmentation.

    Raises:
        AssertionError: the contract is broken.
    """
    augmentation = build()
    first, *others = (augment(augmentation, seed) for seed in (0, 0, 1, 2, 3, 4))
    assert all(torch.equal(first[name], others[0][name]) for name in first), "the same seed gives another result"
    differs = [any(not torch.equal(first[name], other[name]) for name in first) for other in others[1:]]
    assert any(differs), "all seeds give the same result"
    assert not augmentation.state_dict(), "it has a state, which no checkpoint of the model should hold"


def check_no_synchronisation(build: BuildAugmentation) -> None:
    """It does not wait for the device: it also runs on fake tensors, which have no values.

    Args:
        build: returns a new augmentation.

    Raises:
        AssertionError: the contract is broken.
    """
    augmentation = build()
    x = encoder_input(augmentation.kind)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        augmentation(tree_map(mode.from_tensor, x))


CHECKS = (check_shapes, check_range, check_padding, check_repeatability, check_no_synchronisation)
