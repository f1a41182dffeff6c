"""Numbers and names as a person reads them. None is written as a dash everywhere."""

import re

# Characters that move the cursor, recolour or hide text on a terminal, or reorder it: all control characters but line
# feed and tab, separators of lines and paragraphs, marks of writing direction, and halves of surrogate pairs.
CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

NEGLIGIBLE = 1e-12  # smaller values are rounding errors, and written as 0


def escape_controls(text: str) -> str:
    """Write control characters as they are written in Python: an escape character becomes \\x1b.

    Args:
        text: may come from someone else, and may have several lines.
    """
    return CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def format_number(value: float | None) -> str:
    """Write a number with four significant digits, or four decimals between 0.001 and 10; rounding errors as 0.

    Args:
        value: None becomes a dash.
    """
    if value is None:
        return "-"
    if abs(value) < NEGLIGIBLE:
        return "0.0000"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 else f"{value:.4g}"


def format_metric(name: str, value: float | None) -> str:
    """Write the value of a metric; counts are whole numbers.

    Args:
        name: of the metric, such as count or accuracy.
        value: None becomes a dash.
    """
    return f"{value:.0f}" if name == "count" and value is not None else format_number(value)


def format_signed(value: float | None) -> str:
    """Write a difference with its sign.

    Args:
        value: None becomes a dash.
    """
    return f"+{format_number(value)}" if value is not None and value >= NEGLIGIBLE else format_number(value)


def format_interval(low: float | None, high: float | None) -> str:
    """Write an interval.

    Args:
        low: None becomes a dash.
        high: None only where `low` is None.
    """
    return "-" if low is None else f"{format_number(low)} .. {format_number(high)}"


def format_p_value(p: float | None) -> str:
    """Write a p-value with three decimals, or "<0.001".

    Args:
        p: None becomes a dash.
    """
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_count(value: float | None) -> str:
    """Abbreviate a large number: 1.44M, 25.3k.

    Args:
        value: None becomes a dash.
    """
    if value is None:
        return "-"
    if abs(value) < NEGLIGIBLE:
        return "0"
    for factor, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{_round(value / factor)}{letter}"
    return _round(value)


def _round(value: float) -> str:
    """Write three digits, or all that are before the point: never 1e+03."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def pluralize(number: int, noun: str) -> str:
    """Write a number with its noun: 1 run, 2 runs.

    Args:
        number: of things.
        noun: in the singular; its plural must end in s.
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_size(value: float | None) -> str:
    """Write a size in the unit that suits it, with three digits or all that are before the point: 512 MiB, 1020 KiB.

    Args:
        value: bytes; None becomes a dash.
    """
    if value is None:
        return "-"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{_round(value)} {unit}"


def format_milliseconds(seconds: float) -> str:
    """Write a short time: 12.3 ms."""
    return f"{1000 * seconds:.3g} ms"


def format_duration(seconds: float | None) -> str:
    """Write a duration in its one or two largest units: 1.5 s, 3 min 20 s, 2 h 5 min, 4 d.

    Args:
        seconds: None becomes a dash.
    """
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {remainder} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d"
