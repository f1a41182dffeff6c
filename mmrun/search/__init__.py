"""Search: trials drawn by Optuna, pruned early, the same number for each strategy.

Trials are selected on validation rows alone. The state of a search is one file, so that a killed search continues; what
it draws depends on its seed and on earlier trials, so that it continues as it would have.
"""

from collections.abc import Callable
from typing import Annotated

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from mmrun.errors import ConfigError
from mmrun.values import NonNegativeInt, PositiveInt, Range


class Search:
    """How to search: what a file of configs/sweep says.

    Args:
        trials: per value of `group_by`; None: all combinations.
        group_by: the override whose values each get the same number of trials.
        metric: on the validation rows; None: the task's primary metric.
        sampler: builds an Optuna sampler from a seed; None: a grid.
        reduction_factor: of successive halving; None: no pruning.
        first_rung: evaluations before the first pruning decision.
        parallel_trials: drawn and launched together.
        seed: of the draws.

    Raises:
        ConfigError: there is no number of trials.
    """

    def __init__(
        self,
        trials: PositiveInt | None,
        group_by: str,
        metric: str | None,
        sampler: Callable[..., BaseSampler] | None,
        reduction_factor: Annotated[int, Range(at_least=2)] | None,
        first_rung: PositiveInt,
        parallel_trials: PositiveInt,
        seed: NonNegativeInt,
    ) -> None:
        if trials is None and sampler is not None:
            raise ConfigError("sweep.trials: null means all combinations, which is for sweep=grid; give a number")
        self.trials, self.group_by, self.metric, self.sampler = trials, group_by, metric, sampler
        self.reduction_factor, self.first_rung, self.parallel_trials, self.seed = (
            reduction_factor,
            first_rung,
            parallel_trials,
            seed,
        )

    @property
    def independent(self) -> bool:
        """Whether trials are drawn independently of each other."""
        return self.sampler is None or isinstance(self.sampler(seed=0), RandomSampler)


def random(seed: NonNegativeInt) -> BaseSampler:
    """Return a sampler that draws uniformly from every range (Bergstra & Bengio, 2012).

    Args:
        seed: of the draws.
    """
    return RandomSampler(seed=seed)


def tpe(seed: NonNegativeInt, startup: NonNegativeInt) -> BaseSampler:
    """Return a sampler that draws near good trials: tree-structured Parzen estimators (Bergstra et al., 2011).

    Args:
        seed: of the draws.
        startup: trials drawn uniformly before the estimators are used.
    """
    return TPESampler(seed=seed, n_startup_trials=startup)
