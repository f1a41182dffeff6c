"""A console of rich for text that may come from someone else."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from mmrun.results.formatting import escape_controls


class Console(RichConsole):
    """A console of rich that shows text as it is: control characters escaped, neither markup nor emoji codes replaced.

    Args:
        options: of rich's console.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render to segments, the control characters of their text escaped; rich's own are in segments of control.

        Args:
            renderable: anything that rich can print.
            options: as in rich.
        """
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_controls(segment.text), segment.style)
