"""What a run would cost where its pre-trained encoders serve several fusions: amortised, and when that pays."""

import math
from collections.abc import Sequence

from mmrun.results.selection import Metrics

ADDED = ("epochs", "samples", "seconds", "flops")  # costs that add up over the stages, and so can be shared
PAYS = ("epochs", "seconds", "flops")  # in which sharing may pay: a sample of one modality is less than one of all
COSTS = (*ADDED, "peak_memory", "trainable_parameters")

Costs = dict[str, float | None]


def mean_costs(runs: Sequence[Metrics], fusions: int = 1) -> Costs:
    """Return the mean costs of some runs, what they share divided by the number of fusions that use it."""
    return {name: _mean(runs, name, fusions) for name in COSTS}


def _mean(runs: Sequence[Metrics], name: str, fusions: int) -> float | None:
    costs = [run["cost"][name] for run in runs]
    if any(cost is None for cost in costs):
        return None
    if name in ADDED and fusions > 1:
        costs = [cost - shared(run, name) * (1 - 1 / fusions) for run, cost in zip(runs, costs, strict=True)]
    return sum(costs) / len(costs)


def shared(run: Metrics, name: str) -> float:
    """Return the cost of the stages whose result another fusion could reuse."""
    names = shared_stages(run)
    return sum(cost[name] for stage, cost in run["cost"]["stages"].items() if stage in names)


def shared_stages(run: Metrics) -> list[str]:
    """Return the stages that train encoders alone, before the first one that trains more; none if none follows."""
    found: list[str] = []
    for name, stage in run["config"]["strategy"]["stages"].items():
        if any(glob.partition(".")[0] != "encoder" for glob in stage["train"]):
            return found
        copies = {name, *(f"{name}-{modality}" for modality in run["config"]["encoder"])}  # as for_each makes them
        found += [stage for stage in run["cost"]["stages"] if stage in copies]
    return []


def break_even(runs: Sequence[Metrics], base_runs: Sequence[Metrics], name: str) -> int | None:
    """Return the least number of fusions from which a group costs less than its baseline; None if there is none.

    Over k fusions each costs what is its own, and one k-th of what is shared.
    """
    if any(run["cost"][name] is None for run in (*runs, *base_runs)):
        return None
    once, each = _parts(runs, name)
    base_once, base_each = _parts(base_runs, name)
    if once + each < base_once + base_each:
        return 1
    if each >= base_each:
        return None
    return math.floor((once - base_once) / (base_each - each)) + 1


def _parts(runs: Sequence[Metrics], name: str) -> tuple[float, float]:
    """Return the means of what is shared and what is not."""
    once = sum(shared(run, name) for run in runs) / len(runs)
    return once, sum(run["cost"][name] for run in runs) / len(runs) - once
