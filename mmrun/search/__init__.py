"""Search: trials drawn by Optuna, halted early where they are not worth it, the same number for each strategy.

Runs are judged by validation rows alone. All that a search knows lies in one file, so that a killed one goes on; and
what it draws depends on its seed and on the trials before, so that it goes on as it would have.
"""

from collections.abc import Callable

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from mmrun.errors import ConfigError


class Search:
    """How to search: what a file of configs/sweep says."""

    def __init__(
        self,
        trials: int | None,
        group_by: str,
        metric: str | None,
        sampler: Callable[..., BaseSampler] | None,
        reduction_factor: int | None,
        first_rung: int,
        parallel_trials: int,
        seed: int,
    ) -> None:
        least = {
            "trials": (trials, 1),
            "reduction_factor": (reduction_factor, 2),
            "first_rung": (first_rung, 1),
            "parallel_trials": (parallel_trials, 1),
        }
        for key, (value, low) in least.items():
            whole = isinstance(value, int) and value >= low
            if not whole and not (value is None and key in ("trials", "reduction_factor")):
                raise ConfigError(f"sweep.{key}: {value!r} is not a whole number from {low} on")
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
        """Return whether a trial is drawn without regard to the others."""
        return self.sampler is None or isinstance(self.sampler(seed=0), RandomSampler)


def random(seed: int) -> BaseSampler:
    """Draw evenly from every range (Bergstra and Bengio, 2012)."""
    return RandomSampler(seed=seed)


def tpe(seed: int, startup: int) -> BaseSampler:
    """Draw near the good trials so far: tree-structured Parzen estimators (Bergstra et al., 2011)."""
    return TPESampler(seed=seed, n_startup_trials=startup)
