"""Quotes values that are names or paths, so that they mean what was typed: Hydra would read 2024_01 as 202401."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from mmrun.errors import ConfigError

TEXT_KEYS = {
    *("dataset.path", "dataset.root", "dataset.target", "dataset.group", "dataset.split", "dataset.id"),
    *(
        "dataset.order",
        "dataset.encoding",
        "model.path",
        "init",
        "fusion.init",
        "head.init",
        "head.prompt",
        "outputs",
        "cache",
        "tag",
        "note",
    ),
}
TEXT_PARENTS = {"dataset.columns", "dataset.order"}  # the keys are the user's, the values are text
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")  # of a modality, as a key of a config
# Mappings whose keys are names of targets or columns, at the start of an override: dataset.task.größe=ordinal
BY_TARGET = re.compile(r"[+~]*(?:dataset\.(?:task|order|read)|strategy\.stages\.[^=]*\.weights)\.")
ENCODED = re.compile(r"name_hex_([0-9a-f]+)_end")  # a name that Hydra's grammar does not allow in a key
SWEEP = re.compile(r"[a-z_]+\(.*\)")  # choice(a,b), tag(...)
ITEM = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"])*""")  # between two commas that are not quoted


def quote_values(overrides: Sequence[str], is_sweep: bool = False) -> list[str]:
    """Quote the values of overrides whose key holds a name or a path.

    Args:
        overrides: as typed: `dataset.path=~/x=1.csv`, `dataset.target=größe`.
        is_sweep: whether commas separate the values of several runs.

    Returns:
        The overrides in Hydra's grammar: `dataset.path='~/x=1.csv'`. In keys, names of targets that it does not allow
        are encoded, see `decode_names`.

    Raises:
        ConfigError: a modality has a name that cannot be a key.
    """
    return [_quote_value(_encode_name(override), is_sweep) for override in overrides]


def decode_names(text: str) -> str:
    """Decode the names of targets that `quote_values` encoded, anywhere in a text.

    Args:
        text: a key, an override or a message.
    """
    return ENCODED.sub(lambda match: bytes.fromhex(match[1]).decode("utf-8", "surrogateescape"), text)


def decode_keys(value: Any) -> Any:
    """Decode the names of targets in the keys of mappings inside each other.

    Args:
        value: of a composed config, as plain values.
    """
    if isinstance(value, dict):
        return {decode_names(key) if isinstance(key, str) else key: decode_keys(item) for key, item in value.items()}
    return [decode_keys(item) for item in value] if isinstance(value, list) else value


def suggest_quotes(override: str) -> str:
    """Return the word to type in a shell so that the value of an override is taken literally.

    Args:
        override: that Hydra cannot read.
    """
    key, _, value = override.partition("=")
    quote = Quote.single if '"' in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(value, quote).with_quotes()}")


def _encode_name(override: str) -> str:
    """Encode the name of a target in the key of an override, if Hydra's grammar does not allow it there."""
    start = BY_TARGET.match(override)
    if start is None:
        return override
    remainder = override[start.end() :]
    name, equals, value = remainder.partition("=[") if remainder.endswith("]") else remainder.rpartition("=")
    if equals == "":
        name, value = remainder, ""
    if name == "" or NAME.fullmatch(name):
        return override
    return f"{start[0]}name_hex_{name.encode('utf-8', 'surrogateescape').hex()}_end{equals}{value}"


def _quote_value(override: str, is_sweep: bool) -> str:
    key, equals, value = override.partition("=")
    path = key.lstrip("+")
    parent, _, name = path.rpartition(".")
    if parent in ("dataset.columns", "dataset.kinds") and not NAME.fullmatch(name):
        typed = shlex.quote(f"{parent}.NAME={value}")
        raise ConfigError(
            f"{path}: a modality is named with a-z, 0-9 and _, whatever its column is called; type {typed}"
        )
    if not equals or not (path in TEXT_KEYS or parent in TEXT_PARENTS):
        return override
    if value.startswith("[") and value.endswith("]"):
        return f"{key}=[{','.join(map(_quote, split_values(value[1:-1])))}]"
    if path == "tag" and "," in value and value[0] not in "'\"":  # several tags of one run, even in a sweep
        return f"{key}=[{','.join(map(_quote, split_values(value)))}]"
    if is_sweep and "," in value and path != "note" and not (value.startswith("{") or SWEEP.fullmatch(value)):
        return f"{key}={','.join(map(_quote, split_values(value)))}"
    return f"{key}={_quote(value)}"


def split_values(values: str) -> list[str]:
    """Split at the commas that are not inside quotes; brackets inside are left to Hydra.

    Args:
        values: of a sweep, or of a list.
    """
    if "[" in values or "{" in values:
        return [values]
    return [match[0] for match in ITEM.finditer(values) if match[0].strip()]


def _quote(value: str) -> str:
    """Return a value in quotes, unless it is quoted, null, a mapping or refers to another key."""
    text = value.strip()
    is_enclosed = len(text) > 1 and text[0] + text[-1] in ("''", '""', "[]", "{}")
    if text in ("", "null") or is_enclosed or "${" in text or SWEEP.fullmatch(text):
        return value
    return QuotedString(text, Quote.single).with_quotes()
