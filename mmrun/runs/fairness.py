"""What to know before believing a comparison: what is unlike that should be alike, how few runs there are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from typing import Any

from mmrun.runs.selection import Group, Groups, Metrics, lookup, text

# what compared runs should share, where it stands, and the keys under which a user asks for it to differ
ALIKE: tuple[tuple[str, Callable[[Metrics], Any], tuple[str, ...]], ...] = (
    ("data fingerprint", lambda run: run["dataset"]["fingerprint"], ("dataset",)),
    ("split", lambda run: run["dataset"]["split"], ("dataset", "seed")),
    ("budget", lambda run: run["budget"], ("budget*",)),
    ("labelled share", lambda run: run["dataset"]["labelled"], ("dataset.labelled",)),
    ("metric version", lambda run: run["metric_version"], ()),
    ("precision", lambda run: run["config"]["trainer"]["precision"], ("trainer.precision",)),
)


def differences(runs: Sequence[Metrics], keys: Sequence[str]) -> list[str]:
    """Say what differs between compared runs, less what --by or --paired, the `keys`, hold apart."""
    notices = []
    for name, read, explained_by in ALIKE:
        apart = [key for key in keys if any(fnmatch(key, glob) for glob in explained_by)]
        found: dict[Group, Counter[str]] = defaultdict(Counter)
        for run in runs:
            found[tuple(text(lookup(run, key)) for key in apart)][text(read(run))] += 1
        unlike = [values for values in found.values() if len(values) > 1]
        if unlike:
            counts = sum(unlike, Counter())
            said = ", ".join(f"{value[:16]} (n={count})" for value, count in sorted(counts.items()))
            notices.append(f"{name} differs between compared runs: {said}")
    return notices


def unequal_seeds(groups: Groups, keys: Sequence[str]) -> list[str]:
    """Say where the groups do not cover the same seeds, or other pairing keys."""
    covered = {
        group: sorted({" ".join(text(lookup(run, key)) for key in keys) for run in runs})
        for group, runs in groups.items()
    }
    if len({tuple(values) for values in covered.values()}) == 1:
        return []
    said = "; ".join(f"{','.join(group)} has {', '.join(values)}" for group, values in sorted(covered.items()))
    return [f"not every group has the same {','.join(keys)}: {said}"]


def few_runs(groups: Groups) -> list[str]:
    """Say where so few runs stand behind a row that its interval is missing or means little."""
    few = [f"{','.join(group)} (n={len(runs)})" for group, runs in sorted(groups.items()) if len(runs) < 3]
    return [f"fewer than 3 runs, so a very wide interval, or none at n=1: {', '.join(few)}"] if few else []
