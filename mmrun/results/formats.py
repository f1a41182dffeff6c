"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from mmrun.results.tables import Table

LATEX_ESCAPES = str.maketrans({character: f"\\{character}" for character in "&%$#_{}"} | {"<": "$<$", ">": "$>$"})


def markdown(table: Table) -> str:
    """Write a table of GitHub's Markdown, its caption above."""
    dashes = ["---" if place < table.left else "---:" for place in range(len(table.header))]
    rows = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in row] for row in table.rows]
    return "\n".join([f"{table.caption}\n", *(f"| {' | '.join(cells)} |" for cells in (table.header, dashes, *rows))])


def latex(table: Table) -> str:
    """Write a table of the booktabs package, its caption a comment."""
    columns = "l" * table.left + "r" * (len(table.header) - table.left)
    header, *rows = (f"{' & '.join(map(escaped, cells))} \\\\" for cells in (table.header, *table.rows))
    body = [
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        header,
        "\\midrule",
        *rows,
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join([f"% {table.caption}", *body])


def escaped(text: str) -> str:
    """Write words that LaTeX does not take for commands."""
    return text.translate(LATEX_ESCAPES)


def comma_separated(records: Sequence[Mapping[str, Any]]) -> str:
    """Write flat mappings with the same keys as CSV."""
    written = io.StringIO()
    writer = csv.DictWriter(written, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return written.getvalue()
