"""What to know before trusting a comparison: what differs between runs that should be alike, and too few runs."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from math import comb
from typing import NamedTuple, cast

from mmrun.data.names import shorten
from mmrun.results.formatting import pluralize
from mmrun.results.run_values import Group, format_value, lookup_values
from mmrun.results.schema import CostName, RunRecord
from mmrun.results.selection import MAX_NAMES, Groups, list_names
from mmrun.results.variation import Variation, sum_differing


class Requirement(NamedTuple):
    """Something that compared runs should share.

    Attributes:
        name: in notices.
        read: returns its value in a run.
        explained_by: globs over keys; runs that are compared over such a key differ on purpose.
        within: keys with a requirement of their own; runs that differ in one of them may differ in this value.
        seeded_by: keys of the data set; where one is the seed of each run, the value goes with the seed.
    """

    name: str
    read: Callable[[RunRecord], object]
    explained_by: tuple[str, ...]
    within: tuple[str, ...] = ()
    seeded_by: tuple[str, ...] = ()


HASH = re.compile("[0-9a-f]{32,}")
HASH_LETTERS = 16
MAX_LETTERS = 60  # of another value
UNKNOWN = object()  # value of a requirement that a run did not record; it is not compared
SEEDS_OF_SPLITS = ("split_seed", "data_seed")
SPLIT_KEYS = ("dataset", "dataset.fold", "dataset.split_seed", "seed")
REQUIREMENTS = (
    Requirement("data fingerprint", lambda run: run["dataset"]["fingerprint"], ("dataset",), seeded_by=("data_seed",)),
    Requirement("fold", lambda run: run["config"]["dataset"].get("fold"), ("dataset.fold",)),
    Requirement("split", lambda run: run["dataset"]["split"], SPLIT_KEYS, ("dataset.fold",), SEEDS_OF_SPLITS),
    Requirement("budget", lambda run: run["budget"], ("budget*",)),
    Requirement("labelled share", lambda run: run["dataset"]["labelled"], ("dataset.labelled",)),
    Requirement("shots", lambda run: run["config"]["dataset"].get("shots"), ("dataset.shots",)),
    Requirement("labelled rows", lambda run: run["dataset"].get("labelled_rows", UNKNOWN), ("dataset*", "seed")),
    Requirement("metric version", lambda run: run["metric_version"], ()),
    Requirement("precision", lambda run: run["config"]["trainer"]["precision"], ("trainer.precision",)),
)
# The cost that a budget limits, by the budget's unit. Steps and samples are counted in epochs, because a stage that
# reads one of M modalities spends 1/M for each of them.
COST_OF_BUDGET: dict[str, CostName] = {
    "epochs": "epochs",
    "steps": "epochs",
    "samples": "epochs",
    "seconds": "seconds",
    "flops": "flops",
}
TOLERANCE = 0.05  # relative difference in cost that still counts as equal
MAX_NAMED_GROUPS = 3  # larger sets of groups with the same seeds are only counted
MIN_RUNS = 3  # for an interval that says something


def find_differences(runs: Sequence[RunRecord], keys: Sequence[str], match: str = "budget") -> dict[str, str]:
    """Return what differs between compared runs that should not.

    Args:
        runs: all that are compared.
        keys: of --by and --paired, which may differ.
        match: what the runs must have spent alike; unless it is `budget`, their budgets may differ.

    Returns:
        Notices by the name of the requirement.
    """
    notices = {}
    for requirement in REQUIREMENTS:
        if requirement.name == "budget" and match != "budget":
            continue
        differing = _count_differing_values(runs, requirement, keys)
        if differing:
            notices[requirement.name] = f"{requirement.name} differs between compared runs: {list_counts(differing)}"
    return notices


def find_unequal_terms(
    runs: Sequence[RunRecord], by: Sequence[str], paired: Sequence[str], match: str, variation: Variation
) -> dict[str, str]:
    """Return what differs between compared runs that should not, config keys included.

    Args:
        runs: all that are compared, or some of them.
        by: keys that make groups of the runs.
        paired: keys that pair them.
        match: what the runs must have spent alike.
        variation: of all compared runs.

    Returns:
        Notices by the name of a requirement or the config key.
    """
    notices = find_differences(runs, [*by, *paired], match)
    for key, counts in variation.find(runs).items():
        notices[key] = (
            f"{key} is neither group nor pairing and differs between compared runs: {list_counts(counts)}; "
            "fix it with --where, or add it to --by"
        )
    return notices


def shorten_notices(notices: dict[str, str]) -> list[str]:
    """Return the first notices, and one that names the rest.

    Args:
        notices: by name.
    """
    names, texts = list(notices), list(notices.values())
    if len(names) <= MAX_NAMES + 1:
        return texts
    others = list_names(names[MAX_NAMES:], "more key")
    return [*texts[:MAX_NAMES], f"{others} differ between compared runs"]


def list_counts(counts: Counter[str]) -> str:
    """Write "a (n=2), b (n=3)", with at most five values.

    Args:
        counts: number of runs by value.
    """
    parts = [f"{_shorten(value)} (n={count})" for value, count in sorted(counts.items())]
    more = f" and {len(parts) - MAX_NAMES} more values" if len(parts) > MAX_NAMES else ""
    return f"{', '.join(parts[:MAX_NAMES])}{more}"


def _shorten(value: str) -> str:
    """Return a value as it is shown: of a hash its first letters."""
    return value[:HASH_LETTERS] if HASH.fullmatch(value) else shorten(value, MAX_LETTERS)


def _count_differing_values(runs: Sequence[RunRecord], requirement: Requirement, keys: Sequence[str]) -> Counter[str]:
    """Count the values of a requirement among runs that should share it; empty where they do."""
    explaining = list(requirement.within)  # keys whose runs may differ from each other
    if _is_seeded(runs, requirement.seeded_by):
        explaining.append("seed")
    for key in keys:
        if any(fnmatch(key, glob) for glob in requirement.explained_by):
            explaining.append(key)
    counts: dict[Group, Counter[str]] = defaultdict(Counter)
    for run in runs:
        value = requirement.read(run)
        if value is not UNKNOWN:
            counts[lookup_values(run, explaining)][format_value(value)] += 1
    return sum_differing(counts.values())


def _is_seeded(runs: Sequence[RunRecord], keys: Sequence[str]) -> bool:
    """Return whether a key of the data set is the seed of each run, and runs have several."""
    if len({run["seed"] for run in runs}) < 2:
        return False
    return any(all(run["config"]["dataset"].get(key) == run["seed"] for run in runs) for key in keys)


def describe_seeded_splits(runs: Sequence[RunRecord]) -> list[str]:
    """Describe what it means that the split goes with the seed, where it does.

    Args:
        runs: all that are compared.
    """
    if not _is_seeded(runs, SEEDS_OF_SPLITS):
        return []
    return [
        "each seed has a split of its own, so that intervals include the choice of rows; --paired compares on equal "
        "rows. The splits overlap, so p-values are somewhat too small (Nadeau & Bengio, 2003)"
    ]


def check_spending(
    group: Group, runs: Sequence[RunRecord], baseline: Group, base_runs: Sequence[RunRecord], match: str
) -> str | None:
    """Check whether a group spent clearly more or less than its baseline.

    Equal budgets can be spent unequally: by early stopping, or where a small budget is rounded to whole steps.

    Args:
        group: its name.
        runs: of the group.
        baseline: its name.
        base_runs: of the baseline.
        match: the cost to compare; `budget` means the one that the budget limits.

    Returns:
        A notice where the means are more than TOLERANCE apart, else None.
    """
    unit = COST_OF_BUDGET[next(iter(base_runs[0]["budget"]))] if match == "budget" else cast(CostName, match)
    spent, base_spent = _mean_cost(runs, unit), _mean_cost(base_runs, unit)
    if abs(spent - base_spent) <= TOLERANCE * base_spent:
        return None
    return f"{','.join(group)} spent {spent:.3g} {unit}, {','.join(baseline)} {base_spent:.3g}: more than 5 % apart"


def _mean_cost(runs: Sequence[RunRecord], unit: CostName) -> float:
    """Return the mean of one cost."""
    return sum(run["cost"][unit] for run in runs) / len(runs)


def check_seeds(groups: Groups, keys: Sequence[str]) -> list[str]:
    """Check whether all groups cover the same seeds.

    Args:
        groups: that are compared.
        keys: that pair the runs; usually the seed alone.

    Returns:
        A notice where they do not.
    """
    groups_by_seeds: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for group, runs in sorted(groups.items()):
        seeds = {" ".join(lookup_values(run, keys)) for run in runs}
        groups_by_seeds[tuple(sorted(seeds))].append(",".join(group))
    if len(groups_by_seeds) == 1:
        return []
    descriptions = []
    ordered = sorted(groups_by_seeds.items(), key=lambda item: len(item[1]))  # what most groups cover comes last
    for seeds_of_groups, names in ordered:
        is_majority = len(names) > MAX_NAMED_GROUPS and seeds_of_groups == ordered[-1][0]
        subject = f"the {len(names)} others" if is_majority else ", ".join(names)
        descriptions.append(f"{subject} {'has' if len(names) == 1 else 'have'} {', '.join(seeds_of_groups)}")
    return [f"not every group has the same {','.join(keys)}: {'; '.join(descriptions)}"]


def check_run_counts(groups: Groups) -> list[str]:
    """Check whether every group has enough runs for a meaningful interval.

    Returns:
        A notice where some do not.
    """
    single, few = [], []
    for group, runs in sorted(groups.items()):
        name = ",".join(group)
        if len(runs) == 1:
            single.append(name)
        elif len(runs) < MIN_RUNS:
            few.append(f"{name} (n={len(runs)})")
    notices = []
    if single:
        notices.append(f"a single run, so no interval and no test: {', '.join(single)}")
    if few:
        notices.append(f"fewer than 3 runs, so a very wide interval: {', '.join(few)}")
    return notices


def check_smallest_p(test: str, sizes: Sequence[Sequence[int]], tests: int, correct: str) -> list[str]:
    """Check whether a test by ranks or exchanges can reach p < 0.05 with so few runs.

    Args:
        test: t | wilcoxon | permutation.
        sizes: of each comparison: its number of pairs, or of the runs in either group.
        tests: number of p-values that are corrected together.
        correct: holm | bh | none.

    Returns:
        A notice about the comparisons that cannot, or that none can after the correction.
    """
    smallest = [(_smallest_p(*size), size) for size in sizes if min(size) > 0]
    if test == "t" or not smallest:
        return []
    p, size = max(smallest)
    if p >= 0.05:
        subject = pluralize(size[0], "pair") if len(size) == 1 else f"{size[0]} and {size[1]} runs"
        return [f"with {subject} p of the {test} test cannot be below {p:.4g}"]
    p, _ = min(smallest)
    if correct == "holm" and p * tests >= 0.05:
        return [f"corrected over {tests} tests, no p of the {test} test can be below {min(p * tests, 1):.4g}"]
    return []


def _smallest_p(runs: int, base_runs: int | None = None) -> float:
    """Return the smallest two-sided p of a test by signs, or by ways to divide the runs of two groups."""
    return 2 / 2**runs if base_runs is None else 2 / comb(runs + base_runs, runs)
