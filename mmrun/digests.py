"""Digests of stored files, kept beside them: a byte that changes after it was written is noticed when it is read."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from mmrun.errors import DamagedError

FILE = "digests.json"  # in a folder of stored files
BLOCK_SIZE = 1 << 22  # bytes; the blocks of a file are hashed in parallel

_verified: set[tuple[str, int, int, int]] = set()  # path, size, time and inode of files that this process has checked


class Digest(TypedDict):
    """What a file was when it was written.

    Attributes:
        size: bytes.
        blake2b: hash of the hashes of its blocks, 32 hex digits.
    """

    size: int
    blake2b: str


def hash_bytes(content: bytes) -> str:
    """Return the blake2b hash of some bytes, 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def compute_digest(file: Path) -> Digest:
    """Return the digest of a file as it is now."""
    size = file.stat().st_size
    if size <= BLOCK_SIZE:  # starting threads would take longer
        block = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
        return {"size": size, "blake2b": hash_bytes(block if size else b"")}
    starts = range(0, size, BLOCK_SIZE)
    with open(file, "rb", buffering=0) as opened, ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = pool.map(lambda start: _hash_block(opened.fileno(), start), starts)
        digest = hashlib.blake2b(b"".join(blocks), digest_size=16)
    return {"size": size, "blake2b": digest.hexdigest()}


def write_digests(folder: Path) -> None:
    """Write the digests of all files of a folder to digests.json in it.

    Args:
        folder: whose files are complete.
    """
    digests = {file.name: compute_digest(file) for file in sorted(folder.iterdir()) if file.name != FILE}
    (folder / FILE).write_text(json.dumps(digests, indent=1), encoding="utf-8")


def verify_folder(folder: Path, names: Iterable[str] | None = None, once: bool = False) -> None:
    """Check files of a folder against its digests.json.

    Args:
        folder: that `write_digests` has seen.
        names: of the files to check; None: all.
        once: skip files that this process has checked before and that have the same size, time and inode since.

    Raises:
        DamagedError: a file is missing or is not what was written; it names the first.
    """
    try:
        digests: Mapping[str, Digest] = json.loads((folder / FILE).read_text("utf-8"))
        required_names = list(digests) if names is None else list(names)
        expected = {
            name: Digest(size=digests[name]["size"], blake2b=digests[name]["blake2b"]) for name in required_names
        }
    except FileNotFoundError:
        raise DamagedError(f"{folder / FILE}: no such file") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DamagedError(f"{folder / FILE}: damaged ({type(error).__name__}: {error})") from None
    for name, digest in expected.items():
        verify_file(folder / name, digest, once)


def verify_file(file: Path, expected: Digest, once: bool = False) -> None:
    """Check a file against its digest.

    Args:
        file: that was written earlier.
        expected: its digest at that time.
        once: skip a file that this process has checked before and that has the same size, time and inode since.

    Raises:
        DamagedError: the file is missing or is not what was written.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise DamagedError(f"{file}: cannot be read (not a regular file)")
        key = (str(file), status.st_size, status.st_mtime_ns, status.st_ino)
        if once and key in _verified:
            return
        if status.st_size != expected["size"]:
            raise DamagedError(f"{file}: damaged, {status.st_size:,} bytes where {expected['size']:,} were written")
        if compute_digest(file) != expected:
            raise DamagedError(f"{file}: damaged, its bytes changed after they were written")
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror})") from None
    _verified.add(key)


def _hash_block(descriptor: int, start: int) -> bytes:
    return hashlib.blake2b(os.pread(descriptor, BLOCK_SIZE, start), digest_size=16).digest()
