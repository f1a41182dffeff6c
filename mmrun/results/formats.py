"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

from mmrun.results.tables import Table

LATEX_ESCAPES = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"<": "$<$", ">": "$>$"})


def to_markdown(table: Table) -> str:
    """Write a table as GitHub Markdown.

    Returns:
        The caption, an empty line and the table.
    """
    alignments = ["---" if column < table.left else "---:" for column in range(len(table.header))]
    lines = [f"{table.caption}\n", _markdown_row(table.header), _markdown_row(alignments)]
    for row in table.rows:
        lines.append(_markdown_row([cell.replace("|", "\\|").replace("*", "\\*") for cell in row]))
    return "\n".join(lines)


def _markdown_row(cells: Sequence[str]) -> str:
    """Join cells to a row."""
    return f"| {' | '.join(cells)} |"


def to_latex(table: Table) -> str:
    """Write a table for LaTeX's booktabs package.

    Returns:
        The caption as a comment, and a `tabular`.
    """
    columns = "l" * table.left + "r" * (len(table.header) - table.left)
    lines = [
        f"% {table.caption}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        _latex_row(table.header),
        "\\midrule",
    ]
    lines += map(_latex_row, table.rows)
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_row(cells: Sequence[str]) -> str:
    """Join cells to a row."""
    return f"{' & '.join(map(escape_latex, cells))} \\\\"


def escape_latex(text: str) -> str:
    """Escape the characters that have a meaning in LaTeX."""
    return text.translate(LATEX_ESCAPES)


def to_csv(records: Sequence[Mapping[str, object]]) -> str:
    """Write flat records as CSV.

    Args:
        records: at least one; all have the same keys, which make the header.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
