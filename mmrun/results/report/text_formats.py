"""A report as Markdown, LaTeX or CSV."""

from mmrun.results import formats
from mmrun.results.report.content import Report
from mmrun.results.report.section import stem


def markdown(report: Report, figures: str | None) -> str:
    """Write Markdown. `figures` is the folder where plots were drawn, as seen from the file."""
    parts = [f"# {report.title}", "\n".join(f"- **{answer.text}**" for answer in report.answers), f"{report.about}."]
    if report.caveats:
        parts.append("## Before believing it\n\n" + "\n".join(f"- {caveat}" for caveat in report.caveats))
    for section in report.sections:
        parts.append(f"## {section.title}")
        parts += [section.text] if section.text else []
        parts += [formats.to_markdown(table) for table in section.tables]
        for plot in section.plots if figures is not None else ():
            parts.append(f"![{plot.alt}]({figures}/{stem(section, plot)}.svg)\n\n{plot.caption}")
    return "\n\n".join(parts) + "\n"


def latex(report: Report, figures: str | None) -> str:
    """Write sections to be \\input into a paper that uses booktabs and graphicx."""
    said = formats.escape_latex
    items = "\n".join(f"\\item {said(answer.text)}" for answer in report.answers)
    parts = ["% needs \\usepackage{booktabs,graphicx}", f"\\section{{{said(report.title)}}}", said(f"{report.about}.")]
    parts.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
    if report.caveats:
        caveats = "\n".join(f"\\item {said(caveat)}" for caveat in report.caveats)
        parts.append(f"\\subsection{{Before believing it}}\n\\begin{{itemize}}\n{caveats}\n\\end{{itemize}}")
    for section in report.sections:
        parts.append(f"\\subsection{{{said(section.title)}}}")
        parts += [said(section.text)] if section.text else []
        parts += [f"{formats.to_latex(table)}\n\\par {said(table.caption)}" for table in section.tables]
        for plot in section.plots if figures is not None else ():
            image = f"\\includegraphics[width=\\linewidth]{{{figures}/{stem(section, plot)}.pdf}}"
            parts.append(f"\\begin{{figure}}\n{image}\n\\caption{{{said(plot.caption)}}}\n\\end{{figure}}")
    return "\n\n".join(parts) + "\n"
