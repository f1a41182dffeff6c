"""Figures as a person reads them."""


def number(value: float | None) -> str:
    """Write four digits that count, or a dash for none."""
    if value is None:
        return "-"
    return f"{value:.4f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.4g}"


def signed(value: float | None) -> str:
    """Write a difference."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def interval(low: float | None, high: float | None) -> str:
    """Write an interval, or a dash for none."""
    return "-" if low is None else f"{number(low)} .. {number(high)}"


def probability(p: float | None) -> str:
    """Write a p value."""
    if p is None:
        return "-"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(value: float | None) -> str:
    """Write a large number short: 1.44M, 25.3k."""
    if value is None:
        return "-"
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def several(number: int, noun: str) -> str:
    """Write "1 run", "2 runs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(value: float | None) -> str:
    """Write bytes: 512 MiB."""
    if value is None:
        return "-"
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"


def duration(seconds: float | None) -> str:
    """Write a time in its one or two largest units: 1.5 s, 3 min 20 s, 2 h 5 min, 4 d."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d"
