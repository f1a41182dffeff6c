"""What to know before believing a comparison: what is unlike that should be alike, how few runs there are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

from mmrun.results.selection import Group, Groups, Metrics, lookup, text

# what compared runs should share, where it stands, and the keys under which a user asks for it to differ
ALIKE: tuple[tuple[str, Callable[[Metrics], Any], tuple[str, ...]], ...] = (
    ("data fingerprint", lambda run: run["dataset"]["fingerprint"], ("dataset",)),
    ("split", lambda run: run["dataset"]["split"], ("dataset", "seed")),
    ("budget", lambda run: run["budget"], ("budget*",)),
    ("labelled share", lambda run: run["dataset"]["labelled"], ("dataset.labelled",)),
    ("metric version", lambda run: run["metric_version"], ()),
    ("precision", lambda run: run["config"]["trainer"]["precision"], ("trainer.precision",)),
)
# A stage that reads one of M modalities spends 1/M for a row or step, as the budget does; `cost.epochs` counts so.
SPENT_IN = {"epochs": "epochs", "steps": "epochs", "samples": "epochs", "seconds": "seconds", "flops": "flops"}
TOLERANCE = 0.05  # of what the baseline spent
FEW = 3  # groups that are like most others are named, up to so many
MATCHES = ("budget", "epochs", "seconds", "flops")  # what --match can go by


def differences(runs: Sequence[Metrics], keys: Sequence[str], match: str = "budget") -> dict[str, str]:
    """Return what differs between compared runs, by name, except for the `keys` of --by and --paired.

    Runs matched by what they spent may have been given any budget.
    """
    said = {}
    for name, read, explained_by in ALIKE:
        if name == "budget" and match != "budget":
            continue
        apart = [key for key in keys if any(fnmatch(key, glob) for glob in explained_by)]
        found: dict[Group, Counter[str]] = defaultdict(Counter)
        for run in runs:
            found[tuple(text(lookup(run, key)) for key in apart)][text(read(run))] += 1
        unlike = [values for values in found.values() if len(values) > 1]
        if unlike:
            counts = sum(unlike, Counter())
            values = ", ".join(f"{value[:16]} (n={count})" for value, count in sorted(counts.items()))
            said[name] = f"{name} differs between compared runs: {values}"
    return said


def overspent(
    group: Group, runs: Sequence[Metrics], baseline: Group, base_runs: Sequence[Metrics], match: str
) -> str | None:
    """Return a notice where a group spent clearly more or less than its baseline; None where it did not.

    Equal budgets can be spent unequally: by early stopping, or where a small budget is rounded to whole steps.
    """
    unit = match if match != "budget" else SPENT_IN[next(iter(base_runs[0]["budget"]))]
    spent, base_spent = (sum(run["cost"][unit] for run in some) / len(some) for some in (runs, base_runs))
    if abs(spent - base_spent) <= TOLERANCE * base_spent:
        return None
    return f"{','.join(group)} spent {spent:.3g} {unit}, {','.join(baseline)} {base_spent:.3g}: more than 5 % apart"


def unequal_seeds(groups: Groups, keys: Sequence[str]) -> list[str]:
    """Return notices where the groups do not cover the same seeds or other pairing keys."""
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)  # names of groups by what they cover
    for group, runs in sorted(groups.items()):
        alike[tuple(sorted({" ".join(text(lookup(run, key)) for key in keys) for run in runs}))].append(",".join(group))
    if len(alike) == 1:
        return []
    said = []
    by_number = sorted(alike.items(), key=lambda item: len(item[1]))  # what most cover last
    for values, names in by_number:
        many = len(names) > FEW and values == by_number[-1][0]
        who = f"the {len(names)} others" if many else ", ".join(names)
        said.append(f"{who} {'has' if len(names) == 1 else 'have'} {', '.join(values)}")
    return [f"not every group has the same {','.join(keys)}: {'; '.join(said)}"]


def few_runs(groups: Groups) -> list[str]:
    """Return notices where a row has too few runs for a meaningful interval."""
    few = [f"{','.join(group)} (n={len(runs)})" for group, runs in sorted(groups.items()) if len(runs) < 3]
    return [f"fewer than 3 runs, so a very wide interval, or none at n=1: {', '.join(few)}"] if few else []


def blunt_test(test: str, pairs: Sequence[int]) -> list[str]:
    """Return notices where too few pairs are tested by signs or ranks for a small p."""
    if test == "t" or not pairs or (least := min(pairs)) < 1 or 2 / 2**least < 0.05:
        return []
    return [f"with {least} pairs p of the {test} test cannot be below {2 / 2**least:.4g}"]
