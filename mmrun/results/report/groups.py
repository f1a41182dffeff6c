"""Values by group of runs: name a group, drop those without values, describe all of them in one sentence."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from itertools import chain
from typing import TypeVar

import numpy as np

from mmrun.results.formatting import format_number
from mmrun.results.run_values import Group

Value = TypeVar("Value")
Result = TypeVar("Result")
SizedValue = TypeVar("SizedValue", bound=Sized)


def format_group(group: Group) -> str:
    """Return the name of a group in tables, legends and captions.

    Args:
        group: one value for each key that the runs are grouped by.

    Returns:
        The values joined by commas, without spaces.
    """
    return ",".join(group)


def map_groups(function: Callable[[Value], Result], by_group: Mapping[Group, Value]) -> dict[Group, Result]:
    """Apply a function to the value of each group.

    Args:
        function: of one group's value.
        by_group: a value for each group.

    Returns:
        The results, groups in the same order.
    """
    return {group: function(value) for group, value in by_group.items()}


def drop_empty(by_group: Mapping[Group, SizedValue]) -> dict[Group, SizedValue]:
    """Return the groups whose value has a length above 0, in the same order.

    Args:
        by_group: a list, mapping or array for each group.

    Returns:
        The groups that have something to show.
    """
    return {group: values for group, values in by_group.items() if len(values)}


def merge_keys(mappings: Iterable[Iterable[str]]) -> list[str]:
    """Return the keys of several mappings, each once, in the order of first appearance."""
    return list(dict.fromkeys(chain.from_iterable(mappings)))


def describe_groups(by_group: Mapping[Group, Value], describe: Callable[[Value], str], separator: str = ": ") -> str:
    """Describe the value of every group, for the text alternative of a plot: "holistic: 0.65; component: 0.75".

    Args:
        by_group: a value for each group.
        describe: writes the value of one group.
        separator: between a group and its description.

    Returns:
        The descriptions joined by semicolons, without a final full stop.
    """
    parts = [f"{format_group(group)}{separator}{describe(value)}" for group, value in by_group.items()]
    return "; ".join(parts)


def describe_means(values: Mapping[str, Sequence[float]]) -> str:
    """Describe the mean of each modality's values, for the text alternative of a plot: "image 0.3250, text 0.1625".

    Args:
        values: by modality, one for each run.

    Returns:
        The means joined by commas.
    """
    return ", ".join(
        f"{modality} {format_number(float(np.mean(run_values)))}" for modality, run_values in values.items()
    )
