"""Runs as `mmrun ls` lists them: a summary of each, and the settings that tell them apart."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mmrun.errors import MmrunError
from mmrun.results.folder import RunFolder
from mmrun.results.index import RunSummary, describe_damaged_run, find_runs, read_summary
from mmrun.results.run_values import format_value, lookup
from mmrun.results.schema import RunSettings
from mmrun.results.selection import filter_runs

# Keys without a column: the name of a run tells the first three, the others tell nothing about its result.
WITHOUT_COLUMN = ("dataset", "strategy", "seed", "tag", "note", "experiment", "outputs", "cache", "cache_limit")


@dataclass(frozen=True)
class ListedRun:
    """A run of a list.

    Attributes:
        summary: its line.
        settings: its config; None for a damaged run.
        overridden: keys that an override sets.
        tags: the user's words for groups of runs.
        note: of the user.
    """

    summary: RunSummary
    settings: RunSettings | None = None
    overridden: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    note: str | None = None

    def setting(self, key: str) -> str:
        """Return the value of a key as one types it; a dash for a damaged run.

        Args:
            key: a choice, or a dotted key of the config.
        """
        return "-" if self.settings is None else format_value(lookup(self.settings, key))


class ListedSettings(RunSettings):
    """What conditions are read from: settings and status of a run, and the run."""

    listed: ListedRun


def list_runs(folder: Path) -> list[ListedRun]:
    """List the runs below a folder, by name.

    Raises:
        ConfigError: there is no such folder.
    """
    return [_list_run(run, folder) for run in find_runs(folder)]


def _list_run(run: RunFolder, below: Path) -> ListedRun:
    summary, metrics = read_summary(run, below)
    if summary.status == "damaged":
        return ListedRun(summary)
    try:
        config = run.read_config() if metrics is None else metrics["config"]
        overrides = run.read_overrides() if run.overrides_file.exists() else []
        note = run.read_note(config)
    except (MmrunError, OSError) as error:
        return ListedRun(describe_damaged_run(summary.name, run, error))
    settings: RunSettings = {"choices": config["choices"] if metrics is None else metrics["choices"], "config": config}
    return ListedRun(summary, settings, frozenset(map(read_key, overrides)), list_tags(config.get("tag")), note)


def read_key(override: str) -> str:
    """Return the dotted key that an override sets: encoder.image for ++encoder/image=cnn."""
    return override.partition("=")[0].lstrip("+~").replace("/", ".")


def list_tags(tag: str | list[str] | None) -> tuple[str, ...]:
    """Return the tags of a run.

    Args:
        tag: the config's: one word, or a list.
    """
    words = [tag] if isinstance(tag, str) else tag or []
    return tuple(word for word in words if word)


def filter_listed(runs: Sequence[ListedRun], where: Sequence[str]) -> list[ListedRun]:
    """Return the runs that meet every condition.

    Args:
        runs: to choose from.
        where: as `filter_runs` takes them, and also status=VALUE. Damaged runs meet only that one.

    Raises:
        ConfigError: as `filter_runs`.
    """
    if not where:
        return list(runs)
    records: list[ListedSettings] = []
    for run in runs:
        settings: RunSettings = run.settings or {"choices": {}, "config": {}}
        choices = {**settings["choices"], "status": run.summary.status}
        config = {**settings["config"], "tag": list(run.tags) or None}
        records.append({"choices": choices, "config": config, "listed": run})
    return [record["listed"] for record in filter_runs(records, where)]


def find_varying_keys(runs: Iterable[ListedRun]) -> list[str]:
    """Return the overridden keys in which the runs differ, except those that the name of a run tells."""
    readable = [run for run in runs if run.settings is not None]
    keys: set[str] = set()
    for run in readable:
        keys |= run.overridden
    varying = []
    for key in sorted(keys.difference(WITHOUT_COLUMN)):
        if len({run.setting(key) for run in readable}) > 1:
            varying.append(key)
    return varying


def to_record(run: ListedRun) -> dict[str, object]:
    """Convert a run to a record: the fields of its summary, its tags and its note."""
    return {**asdict(run.summary), "tags": list(run.tags), "note": run.note}
