"""Encodings of text files: Unicode is recognised, others are guessed only to be named in an error message."""

import codecs
from pathlib import Path

from mmrun.errors import ConfigError

SAMPLE_BYTES = 1 << 18  # of a file, from which its encoding is guessed
BYTE_ORDER_MARKS = {  # UTF-32 first: its mark starts with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
COMMON_ENCODINGS = [  # of files that are not Unicode
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("koi8_r", "cp932", "gb18030", "big5", "euc_kr"),
]


def detect_unicode(head: bytes) -> str:
    """Return which Unicode encoding a text has: UTF-16 and UTF-32 by their mark or their zero bytes, else UTF-8.

    Args:
        head: the first bytes.
    """
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[::2].count(0), head[1::2].count(0)
    if odd > len(head) / 8 and odd > 8 * even:  # Latin letters and separators, low byte first
        return "utf-16-le"
    if even > len(head) / 8 and even > 8 * odd:
        return "utf-16-be"
    return "utf-8-sig"


def choose_encoding(path: Path, other: str | None) -> str:
    """Return the encoding of a file: Unicode where it is that, else the one that is given.

    Args:
        path: the file.
        other: for a file that is not Unicode; None: there is no such encoding, and its bad rows will be reported.

    Raises:
        ConfigError: Python knows no such encoding.
    """
    with open(path, "rb") as file:
        detected = detect_unicode(file.read(4096))
    if other is None or detected != "utf-8-sig":
        return detected
    try:
        codecs.lookup(other)
    except LookupError:
        raise ConfigError(f"dataset.encoding: '{other}' is no encoding that Python knows; cp1252 is one") from None
    return detected if _is_utf8(path) else other


def describe_guess(content: bytes, sample: bytes) -> str:
    """Return the part of an error message that names the likely encoding of a text, and how it would be read.

    Args:
        content: of the cell that is not UTF-8.
        sample: the start of its file.
    """
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # beside an exported model
        return "save it as UTF-8"
    best = from_bytes(sample if not sample.isascii() else content, cp_isolation=COMMON_ENCODINGS).best()
    if best is None:
        return "name its encoding with dataset.encoding=NAME, or save it as UTF-8"
    encoding = "cp1252" if "cp1252" in best.could_be_from_charset else best.encoding
    reading = content.decode(encoding, "replace")[:40]
    return (
        f"as {encoding} it reads {reading!r}: if that is right set dataset.encoding={encoding}, "
        "else name another, or save it as UTF-8"
    )


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
