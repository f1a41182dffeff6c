"""Lines of text files, within limits, and what is wrong with the encoding of a text."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr, TypeVar

from mmrun.data.limits import MAX_LINE_BYTES
from mmrun.data.sheets.encoding import SAMPLE_BYTES, describe_guess
from mmrun.errors import DataError

T = TypeVar("T")


def read_lines(file: IO[AnyStr], name: str) -> Iterator[AnyStr]:
    """Yield the lines of an open file.

    Args:
        file: open.
        name: of the file.

    Raises:
        DataError: a line is longer than MAX_LINE_BYTES.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES:
            raise DataError(f"{name}:{number}: is longer than {MAX_LINE_BYTES >> 20} MiB; is it a text file?")
        yield line


def find_encoding_problem(text: str, path: Path) -> str:
    """Return what is wrong with a text that could not be decoded, or "".

    Args:
        text: in which undecoded bytes are lone surrogates.
        path: of its file.
    """
    if not any("\udc80" <= letter <= "\udcff" for letter in text):
        return ""
    with open(path, "rb") as file:
        sample = file.read(SAMPLE_BYTES)
    content = text.encode("utf-8", "surrogateescape")
    return f"is not UTF-8 text; {describe_guess(content, sample)}"


def check_decoding(rows: Iterator[T], path: Path) -> Iterator[T]:
    """Yield rows of a file.

    Args:
        rows: read from the file.
        path: of the file.

    Raises:
        DataError: the file as a whole is damaged text.
    """
    try:
        yield from rows
    except UnicodeError as error:
        raise build_decoding_error(path, error) from None


def build_decoding_error(path: Path, error: UnicodeError) -> DataError:
    """Return the error of a file that cannot be decoded.

    Args:
        path: of the file.
        error: what the decoder says.
    """
    return DataError(f"{path.name}: cannot be decoded ({error}); save it as UTF-8")
