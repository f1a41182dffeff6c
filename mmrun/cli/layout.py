"""Fits tables and text into the width of a terminal: text wraps at words, and what does not fit goes below."""

import re
from collections.abc import Sequence
from dataclasses import replace

from rich.cells import cell_len

from mmrun.results.table import Style, Table

GAP = 3  # columns between two cells
MIN_TEXT_WIDTH = 10  # a column of text is not made narrower than this
FAIR_TEXT_WIDTH = 24  # nor narrower than this to save a table

# A piece is followed by a place where a line may end: after spaces, or after punctuation inside a path, key or name.
PIECES = re.compile(r"[^\s/._=,:;-]*[/._=,:;-]+\s*|[^\s/._=,:;-]+\s*|\s+")


def fit_table(table: Table, width: int | None) -> list[Table]:
    """Split a table into tables that fit into a terminal.

    Columns that are details are the first to move to the next table, then columns of text are wrapped,
    then other columns move, the last one first.

    Args:
        table: any table.
        width: columns of the terminal; None: unlimited.

    Returns:
        Tables; those after the first begin with the key columns. One that is too wide with a single further column
        stays so.
    """
    if width is None:
        return [table]
    if _has_too_many_keys(table, width):
        table = _join_keys(table)
    others = [place for place in range(table.left, len(table.header)) if place not in table.details]
    by_importance = [*others, *table.details]
    for count in range(len(by_importance), len(others) - 1, -1):
        part = _select(table, by_importance[:count])
        if _fits(part, width):
            return _with_rest(part, table, by_importance[count:], width)
    for count in range(len(others), 0, -1):
        part = _wrap_text(_select(table, by_importance[:count]), width)
        if _fits(part, width) or count == 1:
            return _with_rest(part, table, by_importance[count:], width)
    return [_wrap_text(table, width)]


def _has_too_many_keys(table: Table, width: int) -> bool:
    """Return whether the left columns, which every part of the table would repeat, leave no room for another one."""
    narrowest = [min(natural, MIN_TEXT_WIDTH) for natural in _natural_widths(table)[: table.left]]
    is_repeated = table.keys is None and 1 < table.left < len(table.header)
    return is_repeated and sum(narrowest) + GAP * table.left > width - MIN_TEXT_WIDTH


def _join_keys(table: Table) -> Table:
    """Join the left columns into one of text: key=value for each."""
    names, shift = table.header[: table.left], table.left - 1
    rows = []
    for row in table.rows:
        pairs = [f"{name}={cell}" for name, cell in zip(names, row[: table.left], strict=True)]
        rows.append([" ".join(pairs), *row[table.left :]])
    return replace(
        table,
        header=["", *table.header[table.left :]],
        rows=rows,
        left=1,
        details=tuple(place - shift for place in table.details),
        texts=tuple(max(place - shift, 0) for place in table.texts),
        styles={(row, max(place - shift, 0)): style for (row, place), style in table.styles.items()},
    )


def _with_rest(part: Table, table: Table, moved: Sequence[int], width: int) -> list[Table]:
    """Return a part of a table, and the tables of its other columns."""
    if not moved:
        return [part]
    keys = table.left if table.keys is None else table.keys
    rest = _select(replace(table, left=keys), moved)
    return [part, *_stack(replace(rest, caption=""), width)]


def _stack(table: Table, width: int) -> list[Table]:
    """Split the columns of a table into as few tables as possible, if names of a fair width may wrap."""
    others = sorted(range(table.left, len(table.header)), key=lambda place: place in table.details)
    count = len(others)
    while count > 1 and not _fits(_wrap_text(_select(table, others[:count]), width, FAIR_TEXT_WIDTH), width):
        count -= 1
    return _with_rest(_wrap_text(_select(table, others[:count]), width), table, others[count:], width)


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines, at spaces if possible, else after punctuation, else anywhere.

    Args:
        text: may have several lines.
        width: columns; wide characters take two.

    Returns:
        At least one line, without spaces at its end.
    """
    lines = []
    for paragraph in text.split("\n"):
        lines += _wrap_paragraph(paragraph, width)
    return lines


def _wrap_paragraph(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in re.findall(r"\S+\s*|\s+", text):
        pieces = [word] if cell_len(word.rstrip()) <= width else _break_word(word, width)
        for piece in pieces:
            if line and cell_len((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
    return [*lines, line.rstrip()]


def _break_word(word: str, width: int) -> list[str]:
    """Break a word that is longer than a line after punctuation, or anywhere if that is not enough."""
    pieces = []
    for piece in PIECES.findall(word):
        while cell_len(piece.rstrip()) > width:
            end = next(end for end in range(len(piece), 0, -1) if cell_len(piece[:end]) <= max(width, 2))
            pieces.append(piece[:end])
            piece = piece[end:]
        pieces.append(piece)
    return pieces


def _natural_widths(table: Table) -> list[int]:
    """Return the width of each column: that of its longest line."""
    widths = []
    for place, name in enumerate(table.header):
        cells = [name, *(row[place] for row in table.rows)]
        widths.append(max(cell_len(line) for cell in cells for line in cell.split("\n")))
    return widths


def _excess(table: Table, width: int) -> int:
    """Return by how many columns a table is too wide."""
    widths = _natural_widths(table)
    return sum(widths) + GAP * (len(widths) - 1) - width


def _fits(table: Table, width: int) -> bool:
    return _excess(table, width) <= 0


def _wrap_text(table: Table, width: int, min_width: int = MIN_TEXT_WIDTH) -> Table:
    """Wrap the columns of text, the widest first, until the table fits or they are at their minimum."""
    widths = _natural_widths(table)
    excess = _excess(table, width)
    texts = [place for place in range(len(widths)) if table.is_text(place)]
    while excess > 0:
        widest = max(texts, key=lambda place: widths[place])
        narrower = max((widths[place] for place in texts if place != widest), default=0)
        target = max(min_width, min(narrower, widths[widest] - 1), widths[widest] - excess)
        if target >= widths[widest]:
            break
        excess -= widths[widest] - target
        widths[widest] = target

    def wrap_row(row: list[str]) -> list[str]:
        return ["\n".join(wrap(cell, widths[place])) if place in texts else cell for place, cell in enumerate(row)]

    return replace(table, header=wrap_row(table.header), rows=list(map(wrap_row, table.rows)))


def _select(table: Table, columns: Sequence[int]) -> Table:
    """Return the left columns of a table and some of the others; where these are all details, none is marked so."""
    places = [*range(table.left), *sorted(columns)]
    details = tuple(places.index(place) for place in table.details if place in columns)
    texts = tuple(places.index(place) for place in table.texts if place in columns)
    styles: dict[tuple[int, int], Style] = {}
    for (row, place), style in table.styles.items():
        if place in places:
            styles[row, places.index(place)] = style
    return replace(
        table,
        header=[table.header[place] for place in places],
        rows=[[row[place] for place in places] for row in table.rows],
        details=() if len(details) == len(columns) else details,
        styles=styles,
        texts=texts,
    )
