"""A report as Markdown or LaTeX."""

from collections.abc import Iterable

from mmrun.results import formats
from mmrun.results.report.content import Report
from mmrun.results.report.section import Section, make_file_stem


def render_markdown(report: Report, figures: str | None) -> str:
    """Render a report as Markdown.

    Args:
        report: to be rendered.
        figures: folder of the saved plots, relative to the Markdown file; None: leave the plots out.

    Returns:
        The content of the file.
    """
    answers = "\n".join(f"- **{formats.escape_markdown(answer.text)}**" for answer in report.answers)
    parts = [f"# {formats.escape_markdown(report.title)}", answers, formats.escape_markdown(report.about)]
    if report.caveats:
        caveats = "\n".join(f"- {formats.escape_markdown(caveat)}" for caveat in report.caveats)
        parts.append(f"## Caveats\n\n{caveats}")
    for section in report.sections:
        parts += _render_markdown_section(section, figures)
    return "\n\n".join(parts) + "\n"


def _render_markdown_section(section: Section, figures: str | None) -> list[str]:
    parts = [f"## {formats.escape_markdown(section.title)}"]
    if section.text:
        parts.append(formats.escape_markdown(section.text))
    parts += map(formats.to_markdown, section.tables)
    if figures is not None:
        for plot in section.plots:
            alt, caption = formats.escape_markdown(plot.alt), formats.escape_markdown(plot.caption)
            parts.append(f"![{alt}]({figures}/{make_file_stem(section, plot)}.svg)\n\n{caption}")
    return parts


def render_latex(report: Report, figures: str | None) -> str:
    r"""Render a report as LaTeX sections, to be \input into a paper that uses booktabs and graphicx.

    Args:
        report: to be rendered.
        figures: folder of the saved plots, relative to the LaTeX file; None: leave the plots out.

    Returns:
        The content of the file.
    """
    answers = [answer.text for answer in report.answers]
    parts = [
        "% needs \\usepackage{booktabs,graphicx}",
        f"\\section{{{formats.escape_latex(report.title)}}}",
        formats.escape_latex(report.about),
        _render_latex_list(answers),
    ]
    if report.caveats:
        parts.append(f"\\subsection{{Caveats}}\n{_render_latex_list(report.caveats)}")
    for section in report.sections:
        parts += _render_latex_section(section, figures)
    return "\n\n".join(parts) + "\n"


def _render_latex_list(texts: Iterable[str]) -> str:
    items = "\n".join(f"\\item {formats.escape_latex(text)}" for text in texts)
    return f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}"


def _render_latex_section(section: Section, figures: str | None) -> list[str]:
    parts = [f"\\subsection{{{formats.escape_latex(section.title)}}}"]
    if section.text:
        parts.append(formats.escape_latex(section.text))
    for table in section.tables:
        parts.append(f"{formats.to_latex(table)}\n\\par {formats.escape_latex(table.caption)}")
    if figures is not None:
        for plot in section.plots:
            image = f"\\includegraphics[width=\\linewidth]{{{figures}/{make_file_stem(section, plot)}.pdf}}"
            caption = f"\\caption{{{formats.escape_latex(plot.caption)}}}"
            parts.append(f"\\begin{{figure}}\n{image}\n{caption}\n\\end{{figure}}")
    return parts
