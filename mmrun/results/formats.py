"""Tables as Markdown, LaTeX and CSV. Names may come from someone else: they cannot become markup, links or formulas."""

import re
from collections.abc import Mapping, Sequence

from mmrun.results.csv import write_csv
from mmrun.results.table import Table

LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"<": "$<$", ">": "$>$", "\n": " "}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
# A star before a space, and "<" before a number, mean nothing in Markdown.
MARKDOWN_SPECIAL = re.compile(r"[\\|`]|\*(?!\s)|<(?=[A-Za-z/!?])|@(?=\w)|(?<=\])\(")


def to_markdown(table: Table) -> str:
    """Write a table as GitHub Markdown.

    Returns:
        The caption, an empty line and the table.
    """
    alignments = ["---" if table.is_text(column) else "---:" for column in range(len(table.header))]
    header = [escape_markdown(name) for name in table.header]
    lines = [f"{escape_markdown(table.caption)}\n", _markdown_row(header), _markdown_row(alignments)]
    for row in table.rows:
        lines.append(_markdown_row([escape_markdown(cell) for cell in row]))
    return "\n".join(lines)


def escape_markdown(text: str) -> str:
    """Escape what Markdown takes for markup, HTML, a link or a mention. Underscores inside words are none of these."""
    return MARKDOWN_SPECIAL.sub(lambda match: f"\\{match[0]}", text.replace("\n", " "))


def _markdown_row(cells: Sequence[str]) -> str:
    """Join cells to a row."""
    return f"| {' | '.join(cells)} |"


def to_latex(table: Table) -> str:
    """Write a table for LaTeX's booktabs package.

    Returns:
        The caption as a comment, and a `tabular`.
    """
    columns = "".join("l" if table.is_text(column) else "r" for column in range(len(table.header)))
    lines = [
        f"% {' '.join(table.caption.splitlines())}",
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
    return write_csv(records[0], (record.values() for record in records))
