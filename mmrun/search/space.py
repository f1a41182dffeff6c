"""The search space: overrides with a range become Optuna distributions, and draws from them become overrides."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from mmrun.compose import list_options
from mmrun.dataset_path import read_dataset_paths
from mmrun.errors import ConfigError
from mmrun.quoting import decode_names, quote_values
from mmrun.search import Search


@dataclass(frozen=True)
class Arm:
    """The search space for one value of the override that `group_by` names.

    Attributes:
        name: that value, strategy=component; "" where there is none.
        fixed: overrides with a single value.
        space: distributions of the other overrides, by key as typed.
    """

    name: str
    fixed: list[str]
    space: dict[str, BaseDistribution]

    def overrides(self, values: dict[str, object]) -> list[str]:
        """Return the overrides of a run, from a value for each key of the space.

        Args:
            values: by key.
        """
        return [*self.fixed, *(f"{key}={_format(values[key])}" for key in self.space)]

    def combinations(self) -> Iterator[dict[str, object]]:
        """Yield all combinations of values, where every range is a list of choices."""
        lists = [distribution.choices for distribution in self.space.values()]  # type: ignore[attr-defined]
        return (dict(zip(self.space, values, strict=True)) for values in itertools.product(*lists))

    def trials(self, search: Search) -> int:
        """Return the number of trials, at most that of the combinations.

        Args:
            search: its `trials`; None: all combinations.
        """
        lists = [getattr(distribution, "choices", None) for distribution in self.space.values()]
        size = math.prod(math.inf if choices is None else len(choices) for choices in lists)
        return int(size if search.trials is None else min(search.trials, size))

    def corners(self) -> list[list[str]]:
        """Return the overrides of a few runs in which each choice, and each end of an interval, occurs."""
        first = {key: _ends(distribution)[0] for key, distribution in self.space.items()}
        others = [{**first, key: value} for key, d in self.space.items() for value in _ends(d)[1:]]
        return [self.overrides(values) for values in [first, *others]]


def build_arms(overrides: Sequence[str], search: Search) -> list[Arm]:
    """Return the search spaces: each value of the override that `search.group_by` names gets trials of its own.

    Args:
        overrides: typed on the shell, some with ranges.
        search: how to search.

    Raises:
        ConfigError: an override cannot be read or searched, or none has a range.
    """
    fixed, space, names = [], {}, [""]
    overrides = read_dataset_paths(overrides, list_options("dataset"), is_sweep=True)
    for quoted in quote_values(overrides, is_sweep=True):
        text = decode_names(quoted)
        try:
            override = OverridesParser.create().parse_override(quoted)
        except HydraException:
            raise ConfigError(f"{text!r} cannot be read; write key=value, key=a,b or key=interval(0,1)") from None
        key = decode_names(override.get_key_element())
        if not override.is_sweep_override():
            fixed.append(text)
        elif key == search.group_by and override.is_discrete_sweep():
            names = [f"{key}={value}" for value in override.sweep_string_iterator()]
        elif key == "seed":
            raise ConfigError(
                f"{text}: a search would choose the luckiest seed; search with one seed, and repeat the best run "
                "with others"
            )
        else:
            space[key] = _distribution(override, search)
    if not space:
        raise ConfigError("nothing to search; give an override a range: optimizer.lr=tag(log,interval(1e-4,1e-2))")
    return [Arm(name, [*fixed, name] if name else fixed, space) for name in names]


def _distribution(override: Override, search: Search) -> BaseDistribution:
    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    if search.sampler is None:
        raise ConfigError(f"{override.input_line}: a grid needs choices; add sweep=random or sweep=tpe")
    log = "log" in sweep.tags
    kind = IntDistribution if isinstance(sweep.start, int) and isinstance(sweep.end, int) else FloatDistribution
    try:
        return kind(sweep.start, sweep.end, log=log)  # type: ignore[arg-type]
    except ValueError as error:
        raise ConfigError(f"{override.input_line}: {error}") from None


def _ends(distribution: BaseDistribution) -> Sequence[object]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return [distribution.low, distribution.high]  # type: ignore[attr-defined]


def _format(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
