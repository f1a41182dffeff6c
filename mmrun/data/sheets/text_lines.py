"""Lines of text files, within limits, and what is wrong with the encoding of a text."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr

from mmrun.data.limits import MAX_LINE_BYTES
from mmrun.data.sheets.encoding import SAMPLE_BYTES, describe_guess
from mmrun.errors import DataError


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
