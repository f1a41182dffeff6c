"""What may be typed after `mmrun train`, before any of it is composed."""

import math
import unicodedata
from collections.abc import Sequence

from mmrun import hydra_internals, renamed
from mmrun.errors import ConfigError
from mmrun.quoting import decode_names

MAX_LENGTH = 4096  # characters; Hydra's parser needs seconds for longer ones
MAX_DEPTH = 32  # brackets inside brackets
MAX_RUNS = 10_000  # of a sweep

# Keys of Hydra that mmrun does not use, and what to type instead; the first match counts
HYDRA_KEYS = {
    "hydra.run": "set outputs=DIR, the folder of the run folders",
    "hydra.sweep.": "set outputs=DIR, the folder of the run folders",
    "hydra.job.chdir": "a run does not change the working folder; leave it out",
    "hydra.sweeper": "choose a search with sweep=NAME",
    "hydra/sweeper": "choose a search with sweep=NAME",
    "hydra.searchpath": "search another folder for YAML files with --config-dir DIR",
    "hydra": "only hydra/launcher=NAME and hydra.launcher.KEY=VALUE apply, with -m; leave it out",
}
# Groups whose options stand deeper in the config, and where
PLACES = {
    "objective": "strategy.stages.STAGE.objective",
    "pretext": "strategy.stages.STAGE.objective.by_kind.KIND",
    "adapter": "strategy.adapt",
    "task": "tasks.TARGET",
}
PATHS = ("dataset.path", "dataset.root", "model.path", "outputs", "cache")  # keys
GROUPS = (
    *("dataset", "model", "fusion", "strategy", "balance", "augment", "callbacks", "optimizer", "trainer"),
    *("experiment",),
)
REQUIRED = ("dataset", "fusion", "strategy", "optimizer", "encoder", "budget", "trainer", "modalities", "seed")


def check_overrides(overrides: Sequence[str]) -> None:
    """Reject overrides of a run or a sweep that cannot mean anything, quickly and with what to type instead.

    Args:
        overrides: as typed.

    Raises:
        ConfigError: an override has a name of version 0.1.0, is too long, names a key of Hydra that is not used,
            removes what every run needs, or changes nothing.
    """
    for override in overrides:
        renamed.check_override(override)
        _check_size(override)
        key, equals, _ = override.partition("=")
        key = key.lstrip("+~")
        if equals and not key:
            raise ConfigError(f"{shorten(override)}: has no key; write key=value")
        if key.partition(".")[0] == "choices":
            raise ConfigError(f"{shorten(override)}: a run fills in this key itself; leave it out")
        if is_of_hydra(key) and not is_of_launcher(key):
            mend = next(mend for prefix, mend in HYDRA_KEYS.items() if key.startswith(prefix))
            raise ConfigError(f"{shorten(override)}: mmrun does not use this key of Hydra; {mend}")
        group = key.replace("/", ".").partition(".")[0]
        if group in PLACES and "@" not in key:
            raise ConfigError(f"{shorten(override)}: no key of a run; write {PLACES[group]}=NAME")
        if key in PATHS and any(unicodedata.category(character) == "Cc" for character in override):
            raise ConfigError(f"{shorten(override)}: has a line break or control character; use a path without")
        if key == "encoder" and not override.startswith("~"):
            raise ConfigError(f"{shorten(override)}: each modality has its own encoder; write encoder.MODALITY=NAME")
        if override.startswith("+") and key in GROUPS:
            raise ConfigError(f"{shorten(override)}: every run has this key; leave out the +")
        if override.startswith("~"):
            _check_removal(override, key)
        elif override.partition("=")[2].replace(" ", "") == "{}":
            raise ConfigError(
                f"{shorten(override)}: merging an empty mapping changes nothing; ~{key}.KEY removes a key"
            )


def check_single_run(overrides: Sequence[str]) -> None:
    """Reject overrides that stand for several runs.

    Args:
        overrides: of one run.

    Raises:
        ConfigError: an override is for a sweep.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key == "sweep" or key.startswith("sweep.") or is_of_hydra(key):
            raise ConfigError(f"{shorten(override)}: only applies to a sweep; add -m")
        if hydra_internals.parse(override).is_sweep_override():
            raise ConfigError(f"{shorten(override)}: several values are a sweep of runs; add -m")


def reject_intervals(overrides: Sequence[str]) -> None:
    """Reject overrides that only a search can draw from.

    Args:
        overrides: of a run or a sweep.

    Raises:
        ConfigError: an override has an interval.
    """
    for override in overrides:
        if "interval(" in override:
            raise ConfigError(
                f"{shorten(override)}: only a search can draw from an interval; add -m sweep=random or -m sweep=tpe"
            )


def check_number_of_runs(overrides: Sequence[str]) -> None:
    """Reject a sweep without runs, or with more than anyone means.

    Args:
        overrides: of a sweep.

    Raises:
        ConfigError: it has no run, or more than MAX_RUNS.
    """
    for override in overrides:
        if "=glob(" in override:
            raise ConfigError(f"{shorten(override)}: glob is not supported; list the names")
    counts = [hydra_internals.count_values(override) for override in overrides]
    for override, count in zip(overrides, counts, strict=True):
        if count == 0:
            raise ConfigError(f"{shorten(override)}: has no value, so there is nothing to train")
    if math.prod(counts) > MAX_RUNS:
        raise ConfigError(f"{math.prod(counts):,} runs are more than a sweep may have ({MAX_RUNS:,})")


def is_of_hydra(key: str) -> bool:
    """Return whether a key configures Hydra itself."""
    return key == "hydra" or key.startswith(("hydra.", "hydra/"))


def is_of_launcher(key: str) -> bool:
    """Return whether a key configures the launcher of a sweep."""
    return key == "hydra/launcher" or key.startswith("hydra.launcher.")


def shorten(override: str) -> str:
    """Return an override as it is quoted in an error."""
    typed = decode_names(override)
    return typed if len(typed) <= 80 else f"{typed[:60]}..."


def _check_size(override: str) -> None:
    if len(override) > MAX_LENGTH:
        raise ConfigError(
            f"{shorten(override)}: has {len(override):,} characters, more than {MAX_LENGTH:,}; write it into a YAML "
            "file (see --config-dir)"
        )
    depth = deepest = 0
    for character in override:
        depth += (character in "[{(") - (character in "]})")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ConfigError(f"{shorten(override)}: has {deepest} brackets inside each other, more than {MAX_DEPTH}")


def _check_removal(override: str, key: str) -> None:
    if key.startswith(("encoder.", "encoder/")) and key.count(".") + key.count("/") == 1:
        raise ConfigError(
            f"{shorten(override)}: every modality needs an encoder; list the modalities to keep: modalities=[A,B]"
        )
    if key in REQUIRED:
        raise ConfigError(f"{shorten(override)}: every run has this key; leave it out, or set it to another value")
