"""mmrun cache: what runs share: decoded columns, reused stages, features of frozen encoders, digests of files."""

import argparse
import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.cli.output import echo
from mmrun.data.file_digests import MEMORY, count_files
from mmrun.errors import ConfigError, DamagedError
from mmrun.results.formatting import format_duration, format_size
from mmrun.results.table import Table

HELP = "List, verify or clear what runs share: decoded columns, reused stages, features, digests of files."

SECONDS = {"h": 3600, "d": 86400, "w": 604800}  # by the unit of an age

INCOMPLETE = "being written, or left by a killed process"
COPIES = ("archive", "hub_dataset")  # kinds of entries that are a user's files, unpacked or downloaded
DIGESTS = "digests"  # kind of the entry that is a file
ENTRY_COLUMNS = ("kind", "name", "about", "size", "age")
UNFINISHED = (".partial", ".new", ".old")  # end the names of such entries


@dataclass(frozen=True)
class Entry:
    """A folder of the cache, or the file of digests.

    Attributes:
        kind: column | stage | feature | archive | hub_dataset | digests.
        name: of the folder or file.
        about: its contents, in a few words.
        size: bytes.
        age: seconds since it was written.
    """

    kind: str
    name: str
    about: str
    size: int
    age: float

    def path(self, cache: Path) -> Path:
        """Return the folder or file of this entry."""
        if self.kind == DIGESTS:
            return cache / self.name
        return cache / f"{self.kind}s" / self.name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=["ls", "verify", "clear"])
    parser.add_argument("--older", metavar="AGE", help="clear only entries older than this: 12h, 30d, 8w")
    parser.add_argument("--cache", metavar="DIR", help="the cache folder (default: that of the config)")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """List, verify or clear the cache.

    Returns:
        The exit code: 1 if `verify` finds a damaged entry, else 0.
    """
    min_age = 0.0 if args.older is None else parse_age(args.older)
    cache = cache_folder(args.cache)
    entries = list_entries(cache)
    if args.action != "ls" and args.format != "table":
        raise ConfigError(f"--format: belongs to `mmrun cache ls`; {args.action} prints messages")
    if args.action == "clear":
        clear(cache, [entry for entry in entries if entry.age >= min_age])
        return 0
    if args.action == "verify":
        return 1 if verify(cache, [entry for entry in entries if entry.kind not in COPIES]) else 0
    print_answer(_describe_entries(cache, entries), args.format)
    return 0


def _describe_entries(cache: Path, entries: Sequence[Entry]) -> Answer:
    records = [asdict(entry) for entry in entries]
    table = Table("", ["kind", "name", "about", "size", "age"], [_format_entry(entry) for entry in entries], 3)
    total = f"{cache}: {_format_total(entries)}"
    return Answer([table, total] if entries else [total], records, records, ENTRY_COLUMNS)


def cache_folder(folder: str | None) -> Path:
    """Return the cache folder.

    Args:
        folder: given by the user; None: that of the config.
    """
    if folder is None:
        from mmrun import compose

        compose.use_config_dirs()
        folder = compose.load([]).cache
    return Path(folder).expanduser()


def parse_age(text: str) -> float:
    """Parse an age.

    Args:
        text: a number and a unit: 12h, 30d or 8w.

    Returns:
        Seconds.

    Raises:
        ConfigError: the text is not an age.
    """
    match = re.fullmatch(r"(\d+)([hdw])", text)
    if match is None:
        raise ConfigError(f"--older {text}: not an age; write for example 12h, 30d or 8w")
    return int(match[1]) * SECONDS[match[2]]


def list_entries(cache: Path) -> list[Entry]:
    """List what is in the cache.

    Returns:
        The entries, newest first.
    """
    entries = []
    for kind, describe in (("column", _describe_column), ("stage", _describe_stage), ("feature", _describe_features)):
        for path in (cache / f"{kind}s").glob("*/"):
            size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
            about = INCOMPLETE if path.suffix in UNFINISHED else describe(path)
            entries.append(Entry(kind, path.name, about, size, time.time() - path.stat().st_mtime))
    for kind in COPIES:
        for path in (cache / f"{kind}s").glob("*/"):
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            about = INCOMPLETE if path.name.startswith(".") else ", ".join(entry.name for entry in path.iterdir())[:40]
            entries.append(Entry(kind, path.name, about, size, time.time() - path.stat().st_mtime))
    memory = cache / MEMORY
    if memory.is_file():
        stat = memory.stat()
        entries.append(
            Entry(DIGESTS, memory.name, _describe_digests(memory), stat.st_size, time.time() - stat.st_mtime)
        )
    return sorted(entries, key=lambda entry: entry.age)


def _describe_column(path: Path) -> str:
    return ", ".join(file.name for file in sorted(path.glob("*.npy")))


def _describe_features(path: Path) -> str:
    try:
        return str(json.loads((path / "meta.json").read_text())["about"])
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def _describe_digests(path: Path) -> str:
    try:
        count = count_files(path)
    except DamagedError:
        return "damaged"
    return "of one file" if count == 1 else f"of {count:,} files"


def _describe_stage(path: Path) -> str:
    try:
        state = json.loads((path / "state.json").read_text())
        return f"{state['stage']}, {state['cost']['steps']} steps, {state['cost']['seconds']:.0f} s"
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"


def verify(cache: Path, entries: Sequence[Entry]) -> int:
    """Check every byte of every entry against its digest, and print an error for each that is damaged.

    Returns:
        The number of damaged entries.
    """
    num_damaged, num_incomplete = 0, 0
    for entry in entries:
        if entry.about == INCOMPLETE:
            num_incomplete += 1
            continue
        try:
            _verify_entry(entry.kind, entry.path(cache))
        except DamagedError as error:
            num_damaged += 1
            echo(f"{error}; the next run that needs it makes it anew")
    incomplete = f", {num_incomplete} {INCOMPLETE}" if num_incomplete else ""
    echo(f"{len(entries) - num_damaged - num_incomplete} of {len(entries)} entries are intact{incomplete}")
    return num_damaged


def _verify_entry(kind: str, path: Path) -> None:
    from mmrun import digests
    from mmrun.training import checkpoint

    if kind == DIGESTS:
        count_files(path)
    elif kind == "stage":
        checkpoint.verify(path)
    else:
        digests.verify_folder(path)


def clear(cache: Path, entries: Sequence[Entry]) -> None:
    """Remove entries. A run that is reading one can still read the files that it has opened."""
    for entry in entries:
        path = entry.path(cache)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    echo(f"{cache}: removed {_format_total(entries)}")


def _format_entry(entry: Entry) -> list[str]:
    return [entry.kind, entry.name[:12], entry.about, format_size(entry.size), format_duration(entry.age)]


def _format_total(entries: Sequence[Entry]) -> str:
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    return f"{count}, {format_size(sum(entry.size for entry in entries))}"
