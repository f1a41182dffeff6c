"""The kinds of modalities: the one list of them, which imports nothing."""

from typing import Literal, get_args

Kind = Literal["image", "text", "audio", "tabular", "series", "video", "points"]
KINDS: tuple[Kind, ...] = get_args(Kind)
