"""Which runs a comparison is about, and the groups that they form."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from mmrun.errors import ConfigError, MmrunError, nearest
from mmrun.results.folder import RunFolder
from mmrun.results.formatting import pluralize
from mmrun.results.index import determine_status, explain_damage, find_runs
from mmrun.results.run_values import (
    Group,
    flatten,
    format_value,
    get_metric,
    has_effect,
    lookup,
    lookup_values,
    parse_number,
    parse_values,
)
from mmrun.results.schema import RunRecord, RunSettings

Groups = dict[Group, list[RunRecord]]
Run = TypeVar("Run", bound=RunSettings)

MAX_NAMES = 5  # runs that a notice names
MAX_CHOICES = 20  # values that an error lists


# ------------------------------------------------------------------------------------------------- which runs


def read_finished(folders: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Read the finished runs below some folders, each once.

    Returns:
        The runs, and notices about the runs that are left out.

    Raises:
        ConfigError: there is none.
    """
    runs: dict[str, RunRecord] = {}
    unfinished, duplicates, damaged = [], [], []
    for run in _find_distinct(folders):
        try:
            if not run.finished:
                unfinished.append(f"{run.name} ({determine_status(run)['status']})")
            elif run.name in runs:
                duplicates.append(run.name)
            else:
                run.read_environment()
                runs[run.name] = read_record(run)
        except (MmrunError, OSError) as error:
            damaged.append(f"{run.name}: {explain_damage(run, error)}")
    notices = []
    notices += describe_damaged(damaged)
    if unfinished:
        notices.append(f"not finished and left out: {list_names(unfinished, 'run')}")
    if duplicates:
        notices.append(f"in more than one folder and counted once: {list_names(duplicates, 'run')}")
    if not runs:
        raise ConfigError("; ".join([f"no finished run below {', '.join(map(str, folders))}", *notices]))
    return list(runs.values()), notices


def read_record(run: RunFolder) -> RunRecord:
    """Read the metrics of a run and add where it is.

    Raises:
        DataError: the run is not finished, or its metrics.json is damaged.
    """
    return {**run.read_metrics(), "folder": run.path}


def _find_distinct(folders: Sequence[Path]) -> list[RunFolder]:
    """Return the run folders below some folders, which may overlap."""
    by_path = {}
    for folder in folders:
        for run in find_runs(folder):
            by_path[run.path.resolve()] = run
    return list(by_path.values())


def filter_runs(runs: list[Run], where: Sequence[str]) -> list[Run]:
    """Return the runs that meet every condition.

    Args:
        runs: to choose from.
        where: conditions `key=value` or `key=value,value`; the last accepts either value. A list meets `key=value` if
            the value is in it.

    Raises:
        ConfigError: a condition is malformed, two have the same key, or no run has such a key or value.
    """
    texts = _parse_conditions(where)
    for key, text in texts.items():
        existing = _existing_values(runs, key)
        accepted = parse_values(text)
        for value in accepted:
            if value not in existing:
                raise _not_found(f"--where: no run has {key}={value}", value, existing)
        runs = [run for run in runs if not set(accepted).isdisjoint(_alternatives(lookup(run, key)))]
    return runs


def _parse_conditions(where: Sequence[str]) -> dict[str, str]:
    """Return the text of the accepted values by key."""
    texts: dict[str, str] = {}
    for condition in where:
        key, equals, text = condition.partition("=")
        key = key.replace("/", ".")
        if not equals:
            raise ConfigError(f"--where {condition}: not of the form key=value")
        if key in texts:
            raise ConfigError(
                f"--where: two conditions on {key}, {texts[key]} and {text}; {key}={texts[key]},{text} accepts either"
            )
        texts[key] = text
    return texts


def _alternatives(value: object) -> list[str]:
    """Return the texts by which a condition may name a value: a list as a whole, or by one of its items."""
    items = list(map(format_value, value)) if isinstance(value, list) else []
    return [format_value(value), *items]


def select_with_metric(runs: list[RunRecord], metric: str) -> tuple[list[RunRecord], list[str]]:
    """Return the runs that have a metric.

    Args:
        runs: to choose from.
        metric: split and name: test/accuracy.

    Returns:
        The runs, and a notice about those that are left out, if any.

    Raises:
        ConfigError: no run has it.
    """
    selected, missing = [], []
    for run in runs:
        if get_metric(run, metric) is None:
            missing.append(run["run"])
        else:
            selected.append(run)
    if not selected:
        raise _not_found(f"--metric: no run has '{metric}'", metric, _list_metrics(runs))
    return selected, [f"without {metric} and left out: {list_names(missing, 'run')}"] if missing else []


def _list_metrics(runs: Iterable[RunRecord]) -> set[str]:
    """Return the metrics that any run has: test/accuracy."""
    names: set[str] = set()
    for run in runs:
        for split, metrics in run["metrics"].items():
            names.update(f"{split}/{name}" for name in metrics)
    return names


# ----------------------------------------------------------------------------------------------------- groups


def group_runs(runs: list[RunRecord], by: Sequence[str]) -> Groups:
    """Group the runs that have the same values of some keys.

    Args:
        runs: to group.
        by: keys as `lookup` takes them.

    Returns:
        Runs by the values of these keys, in the order of the runs.

    Raises:
        ConfigError: no run has a key.
    """
    for key in by:
        _existing_values(runs, key)
    groups: Groups = {}
    for run in runs:
        groups.setdefault(lookup_values(run, by), []).append(run)
    return groups


COMPRESS = "compress"  # the choice of a run that `mmrun compress` wrote


def separate_compressed(
    runs: Sequence[RunRecord], by: Sequence[str]
) -> tuple[list[RunRecord], tuple[str, ...], list[str]]:
    """Keep compressed runs out of the groups of others: the steps that made them become a key of the groups.

    Args:
        runs: to compare.
        by: keys of the groups.

    Returns:
        The runs, where those that were not compressed have the choice compress=none; the keys; and a notice where one
        was added.
    """
    if not any(COMPRESS in run["choices"] for run in runs):
        return list(runs), tuple(by), []
    named: list[RunRecord] = [{**run, "choices": {COMPRESS: "none", **run["choices"]}} for run in runs]
    if COMPRESS in by:
        return named, tuple(by), []
    return named, (*by, COMPRESS), ["compressed runs form groups of their own: --by compress"]


def leave_out_compressed(runs: Sequence[RunRecord], by: Sequence[str]) -> tuple[list[RunRecord], list[str]]:
    """Leave compressed runs out, as they answer another question than those that were trained.

    Args:
        runs: to compare.
        by: keys of the groups; with `compress` among them all runs stay.

    Returns:
        The runs, and a notice where some are left out.
    """
    if COMPRESS in by:
        return separate_compressed(runs, by)[0], []
    compressed = [run["run"] for run in runs if COMPRESS in run["choices"]]
    uncompressed = [run for run in runs if COMPRESS not in run["choices"]]
    if not compressed or not uncompressed:
        return list(runs), []
    return uncompressed, [f"compressed and left out: {list_names(compressed, 'run')}; --by compress compares them"]


def _existing_values(runs: Sequence[RunSettings], key: str) -> set[str]:
    """Return the values of a key in some runs, and raise where none has the key or all leave it unset."""
    values = [lookup(run, key) for run in runs]
    if all(value is None for value in values):
        if any(_has_key(run, key) for run in runs):
            raise ConfigError(f"'{key}' is not set in any run")
        raise _not_found(f"no run has the key '{key}'", key, _list_keys(runs))
    return set(chain.from_iterable(map(_alternatives, values)))


def _has_key(run: RunSettings, key: str) -> bool:
    """Return whether a config has a key, even if its value is null."""
    *parents, last = key.split(".")
    node = lookup(run, ".".join(parents)) if parents else run["config"]
    return isinstance(node, Mapping) and last in node


def _list_keys(runs: Iterable[RunSettings]) -> set[str]:
    """Return the choices and config keys of some runs, except those without effect on the result."""
    keys: set[str] = set()
    for run in runs:
        keys.update(run["choices"])
        keys.update(key for key, _ in flatten(run["config"]) if has_effect(key))
    return keys


def match_baselines(groups: Iterable[Group], against: Group) -> dict[Group, Group]:
    """Return the baseline of each group that has one.

    Args:
        groups: all groups.
        against: a whole group, with which all others are compared; or one value, which makes the group that differs
            from a group in this value alone its baseline.

    Raises:
        ConfigError: there is no such group, or the value belongs to several keys.
    """
    existing = list(groups)
    whole = [group for group in existing if ",".join(group) == ",".join(against)]  # a value may contain commas
    if whole:
        return {group: whole[0] for group in existing if group != whole[0]}
    places: set[int] = set()  # of the key that has the value
    for group in existing:
        places.update(place for place, value in enumerate(group) if (value,) == against)
    if len(places) != 1:
        raise _not_found(f"--against: no group '{','.join(against)}'", ",".join(against), map(",".join, existing))
    place = places.pop()
    baselines = {}
    for group in existing:
        baseline = (*group[:place], *against, *group[place + 1 :])
        if baseline in existing and baseline != group:
            baselines[group] = baseline
    return baselines


def order_groups(groups: Iterable[Group], baselines: Mapping[Group, Group]) -> list[Group]:
    """Sort groups by name, numbers by size, and each baseline before the groups that are compared with it.

    Args:
        groups: to sort.
        baselines: as `match_baselines` returns them; may be empty.
    """

    def sort_key(group: Group) -> tuple[list[tuple[float, str]], bool, list[tuple[float, str]]]:
        return _natural_key(baselines.get(group, group)), group in baselines, _natural_key(group)

    return sorted(groups, key=sort_key)


def _natural_key(group: Group) -> list[tuple[float, str]]:
    """Return a sort key that puts numbers in the order of their size, before all other values."""
    key = []
    for text in group:
        number = parse_number(text)
        key.append((float("inf") if number is None else number, text))
    return key


# ---------------------------------------------------------------------------------------------------- messages


def describe_damaged(damaged: Sequence[str]) -> list[str]:
    """Write a notice for each damaged run, with at most five of them.

    Args:
        damaged: "name: reason".
    """
    notices = [f"damaged and left out: {reason}" for reason in damaged[:MAX_NAMES]]
    if len(damaged) > MAX_NAMES:
        notices.append(f"damaged and left out: {len(damaged) - MAX_NAMES} more runs")
    return notices


def list_names(names: Sequence[str], noun: str) -> str:
    """Write "2 runs (a, b)", with at most five names.

    Args:
        names: to list.
        noun: in the singular.
    """
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{pluralize(len(names), noun)} ({', '.join(names[:MAX_NAMES])}{more})"


def _not_found(message: str, name: str, existing: Iterable[str]) -> ConfigError:
    """Return an error that suggests the nearest name, and lists all where they are few."""
    names = sorted(existing)
    choices = f" (there are {', '.join(names)})" if len(names) <= MAX_CHOICES else ""
    return ConfigError(f"{message}{nearest(name, names)}{choices}")
