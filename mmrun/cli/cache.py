"""mmrun cache: what is kept between runs: decoded columns, trained stages and features of frozen encoders."""

import argparse
import json
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mmrun.cli.table import print_table
from mmrun.errors import ConfigError, MmrunError

HELP = "See, verify or clear what runs share: decoded columns, reused stages, features."

SECONDS = {"h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class Entry:
    """One thing that is kept."""

    kind: str  # column | stage | feature
    name: str
    about: str
    size: int  # bytes
    age: float  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=["ls", "verify", "clear"])
    parser.add_argument("--older", metavar="AGE", help="clear only what is older: 12h, 30d, 8w")
    parser.add_argument("--cache", metavar="DIR", help="the folder; as the config says where not given")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """List, verify or clear."""
    older = 0.0 if args.older is None else seconds(args.older)
    cache = folder(args.cache)
    entries = list(found(cache))
    if args.action == "clear":
        return clear(cache, [entry for entry in entries if entry.age >= older])
    if args.action == "verify":
        return verify(cache, entries)
    if args.format == "json":
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return 0
    rows = [[e.kind, e.name[:12], e.about, f"{e.size / 1e6:,.1f} MB", f"{e.age / 86400:.1f} d"] for e in entries]
    print_table(["kind", "name", "about", "size", "age"], rows, left=3)
    print(f"{cache}: {len(entries)} entries, {sum(entry.size for entry in entries) / 1e6:,.1f} MB")
    return 0


def folder(given: str | None) -> Path:
    """Return the cache folder: the given one, or the config's."""
    if given is None:
        from mmrun import compose

        compose.use_config_dirs()
        given = compose.load([]).cache
    return Path(given).expanduser()


def seconds(age: str) -> float:
    """Read an age."""
    match = re.fullmatch(r"(\d+)([hdw])", age)
    if match is None:
        raise ConfigError(f"--older {age}: not an age; write for example 12h, 30d or 8w")
    return int(match[1]) * SECONDS[match[2]]


def found(cache: Path) -> list[Entry]:
    """Return everything that is kept, the newest first."""
    entries = []
    for kind, about in (("column", _about_column), ("stage", _about_stage), ("feature", _about_features)):
        for path in (cache / f"{kind}s").glob("*/"):
            size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            entries.append(Entry(kind, path.name, about(path), size, time.time() - path.stat().st_mtime))
    return sorted(entries, key=lambda entry: entry.age)


def _about_column(path: Path) -> str:
    if path.name.endswith(".partial"):
        return "being written, or left by a kill"
    return ", ".join(file.name for file in sorted(path.glob("*.npy")))


def _about_features(path: Path) -> str:
    try:
        about: str = json.loads((path / "meta.json").read_text())["about"]
    except (OSError, ValueError):
        return "being written, or left by a kill"
    return about


def _about_stage(path: Path) -> str:
    try:
        state = json.loads((path / "state.json").read_text())
        return f"{state['stage']}, {state['cost']['steps']} steps, {state['cost']['seconds']:.0f} s"
    except (OSError, ValueError, KeyError):
        return "damaged"


def verify(cache: Path, entries: list[Entry]) -> int:
    """Open every stage, column and feature as a run would, and name what is damaged."""
    import numpy as np

    from mmrun.training import checkpoint

    damaged = 0
    for entry in entries:
        path = cache / f"{entry.kind}s" / entry.name
        try:
            if entry.kind == "stage":
                checkpoint.load(path, "model")
            else:
                json.loads((path / "meta.json").read_text())
                for file in path.glob("*.npy"):
                    np.load(file, mmap_mode="r", allow_pickle=False)
        except (MmrunError, OSError, ValueError) as error:
            damaged += 1
            print(error if isinstance(error, MmrunError) else f"{path}: {error}")
    print(f"{len(entries) - damaged} of {len(entries)} entries are whole")
    return 1 if damaged else 0


def clear(cache: Path, entries: list[Entry]) -> int:
    """Remove entries; a run that reads one meanwhile keeps what it has opened."""
    for entry in entries:
        shutil.rmtree(cache / f"{entry.kind}s" / entry.name)
    print(f"{cache}: {len(entries)} entries removed, {sum(entry.size for entry in entries) / 1e6:,.1f} MB")
    return 0
