"""Values of a run: choices, config keys, costs and metrics, and how they are written on the shell."""

import math
from collections.abc import Iterable, Iterator, Mapping

from mmrun.config import WITHOUT_EFFECT
from mmrun.results.schema import RunMetrics, RunSettings

Group = tuple[str, ...]  # one value for each --by key

MAX_INTEGER = 1 << 1000  # larger ones are no floats, and written in full


def lookup(run: RunSettings, key: str) -> object:
    """Return the value of a key in a run.

    Args:
        run: any run; only a finished one has costs.
        key: a choice (strategy, encoder.image), a dotted key of the config, or a cost (cost.total_parameters).

    Returns:
        The value, or None where the run has no such key.
    """
    if key in run["choices"]:
        return run["choices"][key]
    node: object = run if key.startswith("cost.") else run["config"]
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


def lookup_values(run: RunMetrics, keys: Iterable[str]) -> Group:
    """Return the values of some keys in a run.

    Args:
        run: a finished run.
        keys: as `lookup` takes them.

    Returns:
        The values as `format_value` writes them.
    """
    return tuple(format_value(lookup(run, key)) for key in keys)


def get_metric(run: RunMetrics, metric: str) -> float | None:
    """Return a metric of a run.

    Args:
        run: a finished run.
        metric: split and name: test/accuracy.

    Returns:
        Its value, or None where the run does not have it or it is not a finite number.
    """
    split, _, name = metric.partition("/")
    value = run["metrics"].get(split, {}).get(name)
    return value if value is not None and math.isfinite(value) else None


def flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a nested mapping with their dotted keys.

    Args:
        config: any nested mapping; lists count as values.
        prefix: of every key, with its dot.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def format_value(value: object) -> str:
    """Write a value as one types it on the shell: 10, 0.1, true, [image,audio], epochs=10.

    Args:
        value: of a config or a metrics.json; None becomes `none`, or `default` as the only content of a mapping.
    """
    if isinstance(value, Mapping):
        pairs = [f"{key}={format_value(item)}" for key, item in value.items() if item is not None]
        return ",".join(pairs) or "default"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < MAX_INTEGER):
        return f"{value:.12g}"
    return "none" if value is None else str(value)


def parse_values(text: str) -> Group:
    """Read values separated by commas; the commas of a list do not separate.

    Args:
        text: as typed on the shell: 10.0,1e-1 or [image,audio].

    Returns:
        The values as `format_value` writes them: ("10", "0.1").
    """
    values, depth, start = [], 0, 0
    for place, character in enumerate(f"{text},"):
        depth += (character == "[") - (character == "]")
        if character == "," and depth <= 0:
            values.append(_parse_value(text[start:place]))
            start = place + 1
    if depth > 0:  # of a bracket that is not closed
        values.append(text[start:])
    return tuple(values)


def _parse_value(text: str) -> str:
    """Read one value, and write it as `format_value` does."""
    text = text.strip()
    if text.startswith("[") and text.endswith("]"):
        items = parse_values(text[1:-1]) if text[1:-1].strip() else ()
        return f"[{','.join(items)}]"
    value = parse_number(text)
    return text if value is None else format_value(value)


def parse_number(text: str) -> float | None:
    """Read a number.

    Returns:
        The number, or None where the text is not one.
    """
    try:
        return float(text)
    except ValueError:
        return None


def find_differing_keys(run: RunMetrics, other_run: RunMetrics) -> list[str]:
    """Return the keys in which two runs differ, except those without effect on the result.

    Returns:
        Choices first, then dotted keys of the config.
    """
    differing = []
    for key, value in [*run["choices"].items(), *flatten(run["config"])]:
        if value != lookup(other_run, key) and has_effect(key):
            differing.append(key)
    return differing


def has_effect(key: str) -> bool:
    """Return whether a key can change the result of a run."""
    return key.split(".")[0] not in WITHOUT_EFFECT
