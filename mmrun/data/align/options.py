"""How a modality is aligned with the times of the rows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, NamedTuple
from unicodedata import normalize

from mmrun.data import limits
from mmrun.errors import ConfigError
from mmrun.values import Range, convert

How = Literal["nearest", "linear"]
Rate = Annotated[float, Range(above=0, at_most=limits.MAX_SAMPLE_RATE)]  # Hz
Moment = Annotated[float, Range(at_least=-1e6, at_most=1e6)]  # s from the time of a row: within 11 days
Offset = Annotated[float, Range(at_least=-1e11, at_most=1e11)]  # s, also since 1970


@dataclass(frozen=True)
class Alignment:
    """What of a stream belongs to a row.

    Attributes:
        time: column of the table that holds the time of each row.
        window: first and last moment that is read, in s from that time.
        rate: steps per second that a series is resampled to.
        how: what a step between two samples is: the nearest one, or on the line between them; None: linear.
        offset: seconds that are added to the stream's clock, to agree with that of the rows.
        tolerance: farther samples and files are not used, in s; None: the median time between two of the stream.
        stream_rate: samples or files per second from 0 s on, of a stream without time stamps.
    """

    time: str
    window: tuple[Moment, Moment] | None = None
    rate: Rate | None = None
    how: How | None = None
    offset: Offset = 0.0
    tolerance: Annotated[float, Range(at_least=0, at_most=1e6)] | None = None
    stream_rate: Rate | None = None

    @property
    def num_steps(self) -> int:
        """Steps of a window of a series."""
        assert self.window is not None
        assert self.rate is not None
        return max(1, round((self.window[1] - self.window[0]) * self.rate))


class Keys(NamedTuple):
    """Keys beside `time` and `offset` that a kind reads; those that are required come with what they are."""

    required: Mapping[str, str]
    optional: tuple[str, ...]


WINDOW = {"window": "[START,STOP], in s from the time of the row"}
NEAREST = Keys({}, ("tolerance", "stream_rate"))
KEYS = {
    "series": Keys({**WINDOW, "rate": "in Hz"}, ("how", "tolerance", "stream_rate")),
    "audio": Keys(WINDOW, ()),
    "video": Keys(WINDOW, ("stream_rate",)),
    "image": NEAREST,
    "points": NEAREST,
}


def parse_alignments(nodes: Mapping[str, Any] | None) -> dict[str, Alignment]:
    """Return the alignments of a config.

    Args:
        nodes: by modality: mappings, or alignments already.

    Raises:
        ConfigError: a value does not fit.
    """
    alignments = {}
    for name, node in (nodes or {}).items():
        alignment = node if isinstance(node, Alignment) else convert(node, Alignment, f"dataset.align.{name}")
        alignments[name] = replace(alignment, time=normalize("NFC", alignment.time))
    return alignments


def list_windows(alignments: Mapping[str, Alignment]) -> dict[str, tuple[float, float]] | None:
    """Return the first and last moment that is read of each modality, in s from the time of a row; None: none is.

    Args:
        alignments: by modality; those without a window are left out.
    """
    windows = {name: alignment.window for name, alignment in alignments.items() if alignment.window is not None}
    return windows or None


def list_times(alignments: Mapping[str, Alignment]) -> list[str]:
    """Return the columns of a table that hold the times of rows.

    Args:
        alignments: by modality.
    """
    return list(dict.fromkeys(alignment.time for alignment in alignments.values()))


def check_alignment(name: str, kind: str, alignment: Alignment) -> None:
    """Check that an alignment fits the kind of its modality.

    Args:
        name: of the modality.
        kind: of the modality.
        alignment: whose values are of the right types.

    Raises:
        ConfigError: it does not fit.
    """
    path = f"dataset.align.{name}"
    if kind not in KEYS:
        raise ConfigError(f"{path}: '{name}' is {kind}; {', '.join(KEYS)} can be aligned")
    keys = KEYS[kind]
    for key, meaning in keys.required.items():
        if getattr(alignment, key) is None:
            raise ConfigError(f"{path}.{key} is not set; {kind} needs {key}: {meaning}")
    readable = {"time", "offset", *keys.required, *keys.optional}
    for field in fields(alignment):
        if field.name not in readable and getattr(alignment, field.name) is not None:
            listed = ", ".join(field.name for field in fields(alignment) if field.name in readable)
            raise ConfigError(f"{path}.{field.name}: cannot be used with {kind}, which reads {listed}")
    if alignment.window is not None and alignment.window[0] >= alignment.window[1]:
        raise ConfigError(f"{path}.window: {list(alignment.window)} is empty; give the first moment first")
    if kind == "series" and alignment.num_steps > limits.MAX_WINDOW_STEPS:
        raise ConfigError(
            f"{path}: a window of {alignment.num_steps:,} steps; at most {limits.MAX_WINDOW_STEPS:,} are read: lower "
            "its rate, or shorten it"
        )
