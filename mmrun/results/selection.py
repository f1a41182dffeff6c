"""Which runs a comparison is about, and the groups they form."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmrun.config import WITHOUT_EFFECT
from mmrun.errors import ConfigError, nearest
from mmrun.results.formatting import several
from mmrun.results.index import find, status

Metrics = dict[str, Any]  # what a metrics.json holds, and as "folder" where it lies
Group = tuple[str, ...]  # one value for each --by key
Groups = dict[Group, list[Metrics]]


# -------------------------------------------------------------------------------------------- values of a run


def lookup(run: Metrics, key: str) -> Any:
    """Return a choice (strategy, encoder.image) or the value of a dotted config key; None where the run has none.

    cost.total_parameters, and what else the run cost, counts as a key too.
    """
    if key in run["choices"]:
        return run["choices"][key]
    node = run if key.startswith("cost.") else run["config"]
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def metric_value(run: Metrics, metric: str) -> float | None:
    """Return a figure by split and name, test/accuracy; None where it is not there or not defined."""
    split, _, name = metric.partition("/")
    found: float | None = run["metrics"].get(split, {}).get(name)
    return found


def leaves(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Return the dotted keys of a config that hold a value, with it."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def text(value: Any) -> str:
    """Write a value as one types it on the shell: 10, 0.1, true, [image,audio], epochs=10."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={text(item)}" for key, item in value.items() if item is not None) or "default"
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g}"
    return "none" if value is None else str(value)


def typed(words: str) -> Group:
    """Read values as `text` writes them: "10.0,1e-1" -> ("10", "0.1")."""
    return tuple(word if (value := number(word)) is None else text(value) for word in words.split(","))


def number(word: str) -> float | None:
    """Read a number; None where it is a word."""
    try:
        return float(word)
    except ValueError:
        return None


def leaves_that_differ(one: Metrics, other: Metrics) -> list[str]:
    """Return the keys in which two runs differ; choices come first."""
    choices = [key for key in one["choices"] if lookup(one, key) != lookup(other, key)]
    values = [key for key, value in leaves(one["config"]) if value != lookup(other, key)]
    return [key for key in choices + values if key.split(".")[0] not in WITHOUT_EFFECT]


# ------------------------------------------------------------------------------------------------- which runs


def finished(folders: Sequence[Path]) -> tuple[list[Metrics], list[str]]:
    """Read the finished runs, each once, and say which are left out."""
    runs: dict[str, Metrics] = {}
    unfinished, twice = [], []
    for found in {run.path.resolve(): run for folder in folders for run in find(folder)}.values():
        if not found.finished:
            unfinished.append(f"{found.name} ({status(found)['status']})")
        elif found.name in runs:
            twice.append(found.name)
        else:
            runs[found.name] = {**found.metrics(), "folder": found.path}
    notices = []
    if unfinished:
        notices.append(f"not finished and left out: {counted(unfinished, 'run')}")
    if twice:
        notices.append(f"in more than one folder and counted once: {counted(twice, 'run')}")
    if not runs:
        raise ConfigError("; ".join([f"no finished run below {', '.join(map(str, folders))}", *notices]))
    return list(runs.values()), notices


def filtered(runs: list[Metrics], where: Sequence[str]) -> list[Metrics]:
    """Keep the runs that meet each condition, `key=value` or `key=value,value`."""
    for condition in where:
        key, equals, values = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition}: not of the form key=value")
        known = _values(runs, key)
        for value in typed(values):
            if value not in known:
                raise _unknown(f"--where: no run has {key}={value}", value, known)
        runs = [run for run in runs if text(lookup(run, key)) in typed(values)]
    return runs


def measured(runs: list[Metrics], metric: str) -> tuple[list[Metrics], list[str]]:
    """Keep the runs that have the metric, and say which are left out."""
    having = [run for run in runs if metric_value(run, metric) is not None]
    if not having:
        known = {f"{split}/{name}" for run in runs for split, names in run["metrics"].items() for name in names}
        raise _unknown(f"--metric: no run has '{metric}'", metric, known)
    without = [run["run"] for run in runs if metric_value(run, metric) is None]
    return having, [f"without {metric} and left out: {counted(without, 'run')}"] if without else []


# ----------------------------------------------------------------------------------------------------- groups


def grouped(runs: list[Metrics], by: Sequence[str]) -> Groups:
    """Put together the runs that have the same values of some keys."""
    for key in by:
        _values(runs, key)
    groups: Groups = {}
    for run in runs:
        groups.setdefault(tuple(text(lookup(run, key)) for key in by), []).append(run)
    return groups


def _values(runs: list[Metrics], key: str) -> set[str]:
    values = {text(lookup(run, key)) for run in runs if lookup(run, key) is not None}
    if not values:
        known = {name for run in runs for name in run["choices"]}
        known |= {leaf for run in runs for leaf, _ in leaves(run["config"]) if leaf.split(".")[0] not in WITHOUT_EFFECT}
        raise _unknown(f"no run has the key '{key}'", key, known)
    return values


def baselines(groups: Iterable[Group], against: Group) -> dict[Group, Group]:
    """Return each group the one it is compared with: all of `against`, or the one that is alike but has this value."""
    known = list(groups)
    if against in known:
        return {group: against for group in known if group != against}
    places = {place for group in known for place, value in enumerate(group) if (value,) == against}
    if len(places) != 1:
        raise _unknown(f"--against: no group '{','.join(against)}'", ",".join(against), map(",".join, known))
    place = places.pop()
    alike = {group: (*group[:place], *against, *group[place + 1 :]) for group in known}
    return {group: base for group, base in alike.items() if base in known and base != group}


def ordered(groups: Iterable[Group], baseline: Mapping[Group, Group]) -> list[Group]:
    """Order groups by name, numbers by size, a baseline before those that are compared with it."""

    def natural(group: Group) -> list[tuple[float, str]]:
        return [(float("inf") if (value := number(word)) is None else value, word) for word in group]

    return sorted(groups, key=lambda g: (natural(baseline.get(g, g)), g in baseline, natural(g)))


# --------------------------------------------------------------------------------------------------- in words


def counted(names: Sequence[str], noun: str) -> str:
    """Write "2 runs (a, b)", and no more than five names."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{several(len(names), noun)} ({', '.join(names[:5])}{more})"


def _unknown(what: str, word: str, known: Iterable[str]) -> ConfigError:
    names = sorted(known)
    listed = f" (there are {', '.join(names)})" if len(names) <= 20 else ""
    return ConfigError(f"{what}{nearest(word, names)}{listed}")
