"""Which config keys vary between compared runs without being accounted for by group, pairing or seed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields

from mmrun.config import RunConfig, StageConfig, TrainerConfig, result_config
from mmrun.results.schema import Config, RunRecord
from mmrun.results.selection import Group, flatten, format_value, lookup_values

COMPARED_ELSEWHERE = ("dataset", "budget", "trainer.precision")  # data by their content, budgets by what they allow
OPAQUE = ("experiment", "cost")  # runs in groups of these may differ from each other in any key
CLASS = "._target_"
ABSENT = "none"  # what is written for a key that a config does not have

Terms = dict[str, object]  # value by dotted config key


class Variation:
    """The config keys that change a result, vary between some runs, and are neither group nor pairing.

    Ten learning rates are not ten replicates: of all that varies within a group, the seed alone makes replicates.
    Keys below a key of `by` belong to it, as those of `encoder.image.` to `encoder.image`. Texts may go with the seed,
    as the name of a run that initial weights come from does; numbers may not.

    Args:
        runs: all that are compared.
        by: keys that make groups of the runs.
        paired: keys that pair them.
    """

    def __init__(self, runs: Sequence[RunRecord], by: Sequence[str], paired: Sequence[str]) -> None:
        all_terms = [_list_terms(run["config"]) for run in runs]
        accounted = [*by, *paired, *COMPARED_ELSEWHERE]
        if any(_is_below(key, "dataset") or _is_below(key, "encoder") for key in by):
            accounted.append("modalities")
        self.keys = []
        for key in _find_varying(all_terms):
            if not _is_seed(key) and not any(_is_below(key, other) for other in accounted):
                self.keys.append(key)
        cell_keys = [key for key in paired if not _is_seed(key)]
        cell_keys += [key for key in by if key.partition(".")[0] in OPAQUE]
        self._terms: dict[str, Terms] = {}
        self._cells: dict[str, Group] = {}
        for run, terms in zip(runs, all_terms, strict=True):
            self._terms[run["run"]] = {key: terms[key] for key in self.keys if key in terms}
            self._cells[run["run"]] = lookup_values(run, cell_keys)

    def find(self, runs: Iterable[RunRecord]) -> dict[str, Counter[str]]:
        """Find the keys that vary between some of the runs.

        Args:
            runs: compared with each other.

        Returns:
            Number of runs by value, by key. A part whose class differs stands for all keys below it.
        """
        runs = list(runs)
        varying: dict[str, Counter[str]] = {}
        for key in self.keys:
            counts = self._count_differing(key, runs)
            if counts:
                varying[key] = counts
        return _fold_parts(varying)

    def _count_differing(self, key: str, runs: Sequence[RunRecord]) -> Counter[str]:
        """Count the values of a key among runs that should share it; empty where they do."""
        counts: dict[tuple[Group, int | None], Counter[str]] = defaultdict(Counter)
        part, _, modality = key.partition(".")
        modality = modality.partition(".")[0]
        for run in runs:
            if part == "encoder" and modality not in run["config"]["encoder"]:
                continue  # the key `modalities` tells this
            value = self._terms[run["run"]].get(key)
            text = ABSENT if value is None else format_value(value)
            seed = run["seed"] if isinstance(value, str) else None
            counts[self._cells[run["run"]], seed][text] += 1
        if any(seed is not None for _, seed in counts) and any(seed is None for _, seed in counts):
            return sum(counts.values(), Counter())  # a text in some runs, none in others
        differing: Counter[str] = Counter()
        for values in counts.values():
            if len(values) > 1:
                differing += values
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


def _find_varying(all_terms: Sequence[Terms]) -> list[str]:
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
