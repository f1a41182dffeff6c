"""A finished run as one file to hand over: a zip archive whose files are checked when it is unpacked."""

import json
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TypedDict

from mmrun.digests import Digest, compute_digest, verify_file
from mmrun.errors import ConfigError, DamagedError, StorageError
from mmrun.results.files import write_atomically
from mmrun.results.folder import RunFolder
from mmrun.results.shapes import find_mismatch
from mmrun.training import checkpoint
from mmrun.version import __version__

CONTENTS = "pack.json"  # the list of files in an archive
FORMAT = 1
MAX_CONTENTS = 16 << 20  # bytes of pack.json
MAX_FILES = 10_000
TIME = (1980, 1, 1, 0, 0, 0)  # of all members, so that one run always gives one archive
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=,+-]*")  # of a file, a folder or a run
READ_SIZE = 1 << 20


class Contents(TypedDict):
    """What pack.json holds.

    Attributes:
        format: of the archive.
        version: of mmrun that wrote it.
        run: name of the run.
        files: digests, by path in the run folder.
    """

    format: int
    version: str
    run: str
    files: dict[str, Digest]


def pack(folder: RunFolder, output: Path, everything: bool = False) -> Contents:
    """Write a finished run into one archive.

    Args:
        folder: of the run; its files are checked first.
        output: the archive; an older one is replaced, another file is not.
        everything: with the checkpoints of every stage; else only the weights that predict, and no optimiser state.

    Returns:
        What the archive holds.

    Raises:
        ConfigError: the run is not finished, did not record what was fitted to its training rows, or `output` is
            another file.
        DamagedError: a file of the run is not what was written.
        StorageError: the archive cannot be written.
    """
    if output.exists() and not zipfile.is_zipfile(output):
        raise ConfigError(f"{output}: exists, and is no archive; pack elsewhere with -o FILE")
    check_complete(folder)
    paths = sorted(_list_all(folder.path) if everything else _list_needed(folder))
    for final in sorted({path.parent for path in paths if path.suffix == ".safetensors"}):
        checkpoint.verify(folder.path / final)
    files = {path.as_posix(): compute_digest(folder.path / path) for path in paths}
    contents = make_contents(folder, files)
    write_atomically(output, lambda path: _write_archive(path, folder.path, contents))
    return contents


def make_contents(folder: RunFolder, files: dict[str, Digest]) -> Contents:
    """Return the list of files of a run.

    Args:
        folder: of the run.
        files: digests, by path in the folder.

    Raises:
        ConfigError: `parse_contents` would refuse a name.
    """
    name = folder.path.resolve().name
    contents: Contents = {"format": FORMAT, "version": __version__, "run": name, "files": files}
    try:
        return parse_contents(json.dumps(contents).encode(), str(folder.path))
    except DamagedError as error:
        raise ConfigError(f"{error}; rename it, to letters, digits and . _ = , + -") from None


def check_complete(folder: RunFolder) -> None:
    """Check that a run has what predicting needs.

    Args:
        folder: of the run.

    Raises:
        ConfigError: the run is not finished, or did not record what was fitted to its training rows.
        DamagedError: this record is not what was written.
    """
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")
    if not folder.fitted_file.exists():
        raise ConfigError(
            f"{folder.path}: an earlier version of mmrun trained this run, and did not record what new rows are read "
            "by; train it again with --rerun"
        )
    folder.read_fitted()


def find_final_checkpoint(folder: RunFolder) -> Path:
    """Return the folder of the weights that predict.

    Args:
        folder: of a finished run.
    """
    config = folder.read_config()
    stage, settings = list(config["strategy"]["stages"].items())[-1]
    return folder.checkpoint_path(_find_last_stage(folder, stage), settings["keep"])


def _list_needed(folder: RunFolder) -> Iterator[Path]:
    """Yield the files that `predict`, `show` and `compare` read, and the final weights."""
    for path in _list_all(folder.path):
        if path.parts[0] not in ("checkpoints", "profiles"):
            yield path
    final = find_final_checkpoint(folder)
    for path in _list_all(final):
        yield (final / path).relative_to(folder.path)


def _find_last_stage(folder: RunFolder, stage: str) -> str:
    """Return the name of the last stage; one that is trained for each modality has several checkpoints."""
    costs = list(folder.read_metrics()["cost"]["stages"])
    return costs[-1] if costs else stage


def _list_all(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, relative to it, without hidden ones, which are unfinished."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if path.is_symlink():
            raise DamagedError(f"{path}: is a link; replace it by a copy")
        if path.is_file():
            yield relative


def _write_archive(path: Path, folder: Path, contents: Contents) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(CONTENTS, TIME), json.dumps(contents, indent=1))
        for name in contents["files"]:
            info = zipfile.ZipInfo(f"{contents['run']}/{name}", TIME)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as target, (folder / name).open("rb") as source:
                shutil.copyfileobj(source, target, READ_SIZE)


def unpack(archive: Path, parent: Path) -> RunFolder:
    """Unpack a run, and check every file of it. The archive may come from someone else.

    Args:
        archive: that `pack` wrote.
        parent: the folder in which the run's folder is made.

    Returns:
        The run.

    Raises:
        ConfigError: there is no such file, it is no archive of a run, or the run's folder exists.
        DamagedError: a file is not what was packed, or would lie elsewhere.
        StorageError: the folder cannot be written.
    """
    if not archive.is_file():
        raise ConfigError(f"{archive}: no such file; pass one that mmrun pack wrote")
    try:
        with zipfile.ZipFile(archive) as opened:
            contents = parse_contents(_read_contents(archive, opened), str(archive))
            open_file = partial(_open_member, archive, opened, contents["run"])
            return write_run(contents, open_file, parent, str(archive), "unpack")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedError(f"{archive}: damaged, or no archive of a run ({error})") from None


def _read_contents(archive: Path, opened: zipfile.ZipFile) -> bytes:
    """Return what lists the files of an archive; empty where it is missing."""
    try:
        info = opened.getinfo(CONTENTS)
    except KeyError:
        return b""
    if info.file_size > MAX_CONTENTS:
        raise DamagedError(f"{archive}: {CONTENTS} is larger than {MAX_CONTENTS >> 20} MiB")
    return opened.read(info)


def _open_member(archive: Path, opened: zipfile.ZipFile, run: str, name: str) -> IO[bytes]:
    try:
        info = opened.getinfo(f"{run}/{name}")
    except KeyError:
        raise DamagedError(f"{archive}: {name} is missing") from None
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise DamagedError(f"{archive}: {name} is not a file")
    return opened.open(info)


# --------------------------------------------------------------------------------------- runs that come from elsewhere


def parse_contents(content: bytes, source: str) -> Contents:
    """Parse a list of files that may come from someone else, and refuse names that could lead out of the folder.

    Args:
        content: of pack.json.
        source: names the archive or repository in messages.

    Raises:
        ConfigError: a later version of mmrun wrote it.
        DamagedError: it is no such list, or a name is refused.
    """
    try:
        contents: Contents = json.loads(content)
    except (ValueError, RecursionError):
        raise DamagedError(f"{source}: no archive of a run, it has no readable {CONTENTS}") from None
    problem = find_mismatch(contents, Contents)
    if problem is not None:
        raise DamagedError(f"{source}: {CONTENTS}: {problem}")
    if contents["format"] > FORMAT:
        raise ConfigError(f"{source}: was written by mmrun {contents['version']}; install that version or a later one")
    if len(contents["files"]) > MAX_FILES:
        raise DamagedError(f"{source}: has more than {MAX_FILES:,} files")
    for name in (contents["run"], *contents["files"]):
        path = PurePosixPath(name)
        if str(path) != name or not all(SAFE_NAME.fullmatch(part) for part in path.parts):
            raise DamagedError(f"{source}: a file called {name!r} is refused")
    if "/" in contents["run"]:
        raise DamagedError(f"{source}: a run called {contents['run']!r} is refused")
    return contents


def write_run(
    contents: Contents, open_file: Callable[[str], IO[bytes]], parent: Path, source: str, verb: str
) -> RunFolder:
    """Write the folder of a run that comes from elsewhere; it has its name only when every file was checked.

    Args:
        contents: that `parse_contents` returned.
        open_file: opens a file by its name; it may be longer than its digest says.
        parent: the folder in which the run's folder is made.
        source: names the archive or repository in messages.
        verb: of mmrun that does it.

    Returns:
        The run.

    Raises:
        ConfigError: the run's folder exists.
        DamagedError: a file is not what its digest says.
        StorageError: the folder cannot be written.
    """
    target = parent / contents["run"]
    if target.exists():
        raise ConfigError(f"{target}: exists; remove it, or {verb} elsewhere with -o FOLDER")
    unfinished = parent / f".{contents['run']}.{os.getpid()}"
    new_folders = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        _check_space(contents, parent)
        for name, digest in contents["files"].items():
            written = unfinished / name
            written.parent.mkdir(parents=True, exist_ok=True)
            with open_file(name) as opened, written.open("wb") as stream:
                _copy(opened, stream, digest["size"], f"{source}: {name}")
            _verify(written, digest, f"{source}: {name}")
        unfinished.rename(target)
    except OSError as error:
        raise StorageError(f"{parent}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not target.exists():
            for folder in new_folders:
                with suppress(OSError):
                    folder.rmdir()
    return RunFolder(target)


def _check_space(contents: Contents, parent: Path) -> None:
    size = sum(digest["size"] for digest in contents["files"].values())
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if size > free:
        raise StorageError(f"{parent}: {size:,} bytes are needed, {free:,} are free")


def _verify(file: Path, digest: Digest, name: str) -> None:
    try:
        verify_file(file, digest)
    except DamagedError:
        raise DamagedError(f"{name} is not what was packed") from None


def _copy(source: IO[bytes], target: IO[bytes], size: int, name: str) -> None:
    """Copy exactly so many bytes: a few packed bytes can stand for many."""
    remaining = size
    while block := source.read(min(READ_SIZE, remaining + 1)):
        remaining -= len(block)
        if remaining < 0:
            raise DamagedError(f"{name} is longer than its list says")
        target.write(block)
    if remaining:
        raise DamagedError(f"{name} is shorter than its list says")
