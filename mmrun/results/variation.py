"""Which config keys vary between compared runs without being accounted for by group, pairing or seed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields

from mmrun.config import RunConfig, StageConfig, TrainerConfig, result_config
from mmrun.results.run_values import Group, flatten, format_value, lookup, lookup_values
from mmrun.results.schema import Config, RunRecord

COMPARED_ELSEWHERE = ("dataset", "budget", "trainer.precision")  # data by their content, budgets by what they allow
OPAQUE = ("experiment", "cost")  # runs in groups of these may differ from each other in any key
CLASS = "._target_"
ABSENT = "none"  # what is written for a key that a config does not have

Terms = dict[str, object]  # value by dotted config key


class Variation:
    """The config keys that change a result, vary between some runs, and are neither group nor pairing.

    Ten learning rates are not ten replicates: of all that varies within a group, the seed alone makes replicates.
    Keys below a choice (`encoder.image.` below `encoder.image`) may go with it: of runs with different choices, the
    choice is named in their place. Texts may go with the seed, as the name of a run that initial weights come from
    does; numbers may not.

    Args:
        runs: all that are compared.
        by: keys that make groups of the runs.
        paired: keys that pair them.
    """

    def __init__(self, runs: Sequence[RunRecord], by: Sequence[str], paired: Sequence[str]) -> None:
        all_terms = [_list_terms(run["config"]) for run in runs]
        elsewhere = list(COMPARED_ELSEWHERE)
        if any(_is_below(key, "dataset") or _is_below(key, "encoder") for key in by):
            elsewhere.append("modalities")
        self.keys: dict[str, list[str]] = {}  # those above it that explain its values, by key
        choices = [key for key in _find_varying([run["choices"] for run in runs]) if not _is_any_below(key, elsewhere)]
        for key in _find_varying(all_terms):
            if not _is_seed(key) and not _is_any_below(key, elsewhere):
                self.keys[key] = [above for above in (*by, *choices) if _is_below(key, above)]
        accounted = [*by, *paired, *elsewhere]
        self.choices = [key for key in choices if not _is_any_below(key, accounted)]
        cell_keys = [key for key in paired if not _is_seed(key)]
        cell_keys += [key for key in by if key.partition(".")[0] in OPAQUE]
        above_keys = {above for explaining in self.keys.values() for above in explaining}
        self._terms: dict[str, Terms] = {}
        self._cells: dict[str, Group] = {}
        self._above: dict[str, dict[str, str]] = {}  # by run and key
        for run, terms in zip(runs, all_terms, strict=True):
            self._terms[run["run"]] = {key: terms[key] for key in self.keys if key in terms}
            self._cells[run["run"]] = lookup_values(run, cell_keys)
            self._above[run["run"]] = {key: format_value(lookup(run, key)) for key in {*above_keys, *self.choices}}

    def find(self, runs: Iterable[RunRecord]) -> dict[str, Counter[str]]:
        """Find the choices and keys that vary between some of the runs.

        Args:
            runs: compared with each other.

        Returns:
            Number of runs by value, by choice or key. A choice stands for the keys below it that go with it, and a
            part whose class differs for all keys below it.
        """
        runs = list(runs)
        varying = self._find_varying_choices(runs)
        keys: dict[str, Counter[str]] = {}
        for key in self.keys:
            counts = self._count_differing(key, runs)
            if counts:
                keys[key] = counts
        return {**varying, **_fold_parts(keys)}

    def _find_varying_choices(self, runs: Sequence[RunRecord]) -> dict[str, Counter[str]]:
        """Count the values of each choice that runs should share and do not, unless one above it varies too."""
        varying: dict[str, Counter[str]] = {}
        for key in sorted(self.choices, key=lambda choice: choice.count(".")):
            if _is_any_below(key, varying) or not any(key in explaining for explaining in self.keys.values()):
                continue
            by_cell: dict[Group, Counter[str]] = defaultdict(Counter)
            for run in runs:
                by_cell[self._cells[run["run"]]][self._above[run["run"]][key]] += 1
            counts = sum_differing(by_cell.values())
            if counts:
                varying[key] = counts
        return varying

    def _count_differing(self, key: str, runs: Sequence[RunRecord]) -> Counter[str]:
        """Count the values of a key among runs that should share it; empty where they do."""
        by_cell: dict[tuple[Group, Group, int | None], Counter[str]] = defaultdict(Counter)
        part, _, modality = key.partition(".")
        modality = modality.partition(".")[0]
        explaining = self.keys[key]
        for run in runs:
            if part == "encoder" and modality not in run["config"]["encoder"]:
                continue  # the key `modalities` tells this
            name = run["run"]
            value = self._terms[name].get(key)
            text = ABSENT if value is None else format_value(value)
            seed = run["seed"] if isinstance(value, str) else None
            above = tuple(self._above[name][choice] for choice in explaining)
            by_cell[self._cells[name], above, seed][text] += 1
        if _has_texts_and_others(by_cell):
            return sum(by_cell.values(), Counter())
        return sum_differing(by_cell.values())


def _has_texts_and_others(by_cell: Iterable[tuple[Group, Group, int | None]]) -> bool:
    """Return whether a key is a text in some runs of one cell, which may go with the seed, and none in others."""
    kinds: dict[tuple[Group, Group], set[bool]] = defaultdict(set)
    for cell, above, seed in by_cell:
        kinds[cell, above].add(seed is None)
    return any(len(cell_kinds) > 1 for cell_kinds in kinds.values())


def sum_differing(counts_by_cell: Iterable[Counter[str]]) -> Counter[str]:
    """Add the counts of the cells that have more than one value.

    Args:
        counts_by_cell: number of runs by value, for runs that should share it.
    """
    differing: Counter[str] = Counter()
    for counts in counts_by_cell:
        if len(counts) > 1:
            differing += counts
    return differing


def _list_terms(config: Config) -> Terms:
    """Return the values that can change the result; keys that an older version did not have take their default."""
    result = {**_defaults(RunConfig), **result_config(config)}
    result["trainer"] = {**_defaults(TrainerConfig), **config["trainer"]}
    stages: dict[str, object] = {}
    for name, stage in config["strategy"]["stages"].items():
        stages[name] = {**_defaults(StageConfig), **stage}
    result["strategy"] = {**config["strategy"], "stages": stages}
    result["modalities"] = sorted(config["encoder"])
    return dict(flatten(result_config(result)))


def _defaults(part: type) -> Terms:
    """Return the defaults of the keys of a config, as far as they are plain values."""
    defaults: Terms = {}
    for key in fields(part):
        if key.default is not MISSING:
            defaults[key.name] = key.default
    return defaults


def _find_varying(all_terms: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the keys that do not have one value in all configs, in the order of the configs."""
    first = all_terms[0]
    varying: dict[str, None] = {}
    for terms in all_terms:
        if terms == first:
            continue
        for key in (*first, *terms):
            if key not in terms or key not in first or terms[key] != first[key]:
                varying[key] = None
    return list(varying)


def _is_below(key: str, other: str) -> bool:
    """Return whether a key is another one, or below it."""
    return key == other or key.startswith(f"{other}.")


def _is_any_below(key: str, others: Iterable[str]) -> bool:
    """Return whether a key is one of others, or below one of them."""
    return any(_is_below(key, other) for other in others)


def _is_seed(key: str) -> bool:
    """Return whether a key seeds something: seed, dataset.split_seed ..."""
    return key.rpartition(".")[2].endswith("seed")


def _fold_parts(varying: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Let a part whose class differs stand for all keys below it, by the name of the class."""
    parts = [key.removesuffix(CLASS) for key in varying if key.endswith(CLASS)]
    folded: dict[str, Counter[str]] = {}
    for key, counts in varying.items():
        part = next((part for part in parts if _is_below(key, part)), None)
        if part is None:
            folded[key] = counts
        elif key == part + CLASS:
            folded[part] = Counter()
            for name, count in counts.items():
                folded[part][name.rpartition(".")[2]] += count
    return folded
