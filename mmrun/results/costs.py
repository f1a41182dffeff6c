"""What a run would cost if several fusions shared its pre-trained encoders: amortised costs, and when sharing pays."""

import math
from collections.abc import Sequence

from mmrun.results.schema import CostName, RunRecord

# Costs that add up over the stages, and so can be shared
ADDITIVE: tuple[CostName, ...] = ("epochs", "samples", "seconds", "flops")
# Costs in which sharing may pay; samples are not among them, as one modality of a row is less than the row
BREAK_EVEN_COSTS: tuple[CostName, ...] = ("epochs", "seconds", "flops")
COSTS: tuple[CostName, ...] = (*ADDITIVE, "peak_memory", "trainable_parameters")

Costs = dict[str, float | None]  # by the names in COSTS; None where a run did not record it


def compute_mean_costs(runs: Sequence[RunRecord], fusions: int = 1) -> Costs:
    """Return the mean costs of some runs.

    Args:
        runs: at least one.
        fusions: that share the stages which train encoders alone; the cost of these is divided by this number.
    """
    return {name: _mean_cost(runs, name, fusions) for name in COSTS}


def _mean_cost(runs: Sequence[RunRecord], name: CostName, fusions: int) -> float | None:
    """Return the mean of one cost; None where a run did not record it."""
    total = 0.0
    for run in runs:
        cost: float | None = run["cost"][name]
        if cost is None:
            return None
        if name in ADDITIVE and fusions > 1:
            cost -= compute_shared_cost(run, name) * (1 - 1 / fusions)
        total += cost
    return total / len(runs)


def compute_shared_cost(run: RunRecord, name: CostName) -> float:
    """Return the cost of the stages whose result another fusion could reuse."""
    shared = find_shared_stages(run)
    return sum(cost[name] for stage, cost in run["cost"]["stages"].items() if stage in shared)


def find_shared_stages(run: RunRecord) -> list[str]:
    """Return the stages that train encoders alone, before the first one that trains more.

    Returns:
        Names of stages as in the run's costs; empty where no stage trains more than encoders, as nothing reuses them.
    """
    shared: list[str] = []
    for name, stage in run["config"]["strategy"]["stages"].items():
        if any(glob.partition(".")[0] != "encoder" for glob in stage["train"]):
            return shared
        names = {name, *(f"{name}-{modality}" for modality in run["config"]["encoder"])}  # as for_each makes them
        shared += [trained for trained in run["cost"]["stages"] if trained in names]
    return []


def compute_break_even(runs: Sequence[RunRecord], base_runs: Sequence[RunRecord], name: CostName) -> int | None:
    """Return the smallest number of fusions from which on a group costs less than its baseline.

    With k fusions each costs what it does not share, and one k-th of what it shares.

    Returns:
        The number, or None where no number is large enough or a run did not record the cost.
    """
    if any(run["cost"][name] is None for run in (*runs, *base_runs)):
        return None
    shared, unshared = _split_cost(runs, name)
    base_shared, base_unshared = _split_cost(base_runs, name)
    if shared + unshared < base_shared + base_unshared:
        return 1
    if unshared >= base_unshared:
        return None
    return math.floor((shared - base_shared) / (base_unshared - unshared)) + 1


def _split_cost(runs: Sequence[RunRecord], name: CostName) -> tuple[float, float]:
    """Return the mean cost of the stages that can be shared, and that of the others."""
    total, shared = 0.0, 0.0
    for run in runs:
        total += run["cost"][name]
        shared += compute_shared_cost(run, name)
    return shared / len(runs), total / len(runs) - shared / len(runs)
