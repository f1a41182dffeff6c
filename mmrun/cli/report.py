"""mmrun report: one page that answers the question behind finished runs."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.arguments import RUN_HELP, split_keys
from mmrun.cli.compare import add_question, parse_question
from mmrun.cli.explain import explain_to_page
from mmrun.cli.output import echo
from mmrun.cli.table import inform, print_note, print_text
from mmrun.errors import ConfigError
from mmrun.results.index import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmrun.results.folder import RunFolder
    from mmrun.results.report.content import Report
    from mmrun.results.report.section import Section

HELP = "Write a page that answers the question behind finished runs, with tables, plots and all caveats."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_question(parser, None)
    parser.add_argument(
        "--apart",
        metavar="KEY[,KEY]",
        help="compare separately for each value of these keys (default: those in which runs of one group and seed "
        "differ); curves are drawn over keys with numeric values, and groups are ranked over the others",
    )
    parser.add_argument(
        "--eval",
        action="store_true",
        help="first run `mmrun eval --all` for the runs that lack it, some seconds each: contribution of each "
        "modality, noise, encoders before and after; if interrupted, the next call continues",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default: report.html; other formats: stdout)"
    )
    parser.add_argument("--format", choices=["html", "md", "latex", "csv"], default="html", help="default: html")
    parser.add_argument(
        "--show",
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN",
        help="add a section on each of these runs: its curves, confusion, calibration, predicted over true values, and "
        f"the losses of each stage. RUN is {RUN_HELP}",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FILE",
        help="with --show: also explain the predictions of these runs for rows of FILE, as `mmrun explain` does, on a "
        "page beside the report that the section links to",
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also write every plot here, as SVG and PDF")


def run(args: argparse.Namespace) -> int:
    """Write the report; its answers and caveats go to stderr."""
    from mmrun.results.report import content, findings

    if args.explain is not None and (not args.show or args.format != "html"):
        raise ConfigError("--explain needs --show RUN, and no --format: it writes a page for each run that is shown")
    shown = {folder.path: folder for folder in map(resolve, args.show)}
    apart = () if args.apart is None else split_keys(args.apart)
    results = findings.compute_findings(args.folders, parse_question(args), args.where, apart)
    if args.eval:
        from mmrun.cli.eval import evaluate_remaining

        evaluate_remaining(results.runs, results.question.metric.partition("/")[0])
    output = Path("report.html") if args.output is None and args.format == "html" else args.output
    run_sections = _build_run_sections(list(shown.values()), results.question.metric, args.explain, output)
    report = content.build_report(results, run_sections)
    if args.figures is not None:
        _save_plots(report, args.figures)
    text = _format_report(report, args.format, args.figures, output)
    if output is None:
        echo(text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    _print_summary(report)
    if output is not None:
        inform(f"wrote {output}")
    return 0


def _build_run_sections(
    folders: "Sequence[RunFolder]", metric: str, rows_file: Path | None, output: Path | None
) -> "list[Section]":
    """Build a section on each run; with a file of rows, write a page of explanations for each beside the report."""
    from mmrun.results.run_plots.collect import build_run_section

    sections = []
    for folder in folders:
        page = None
        if rows_file is not None and output is not None:
            page = output.parent / f"{folder.name}-explained.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            explain_to_page(folder, rows_file, page)
        sections.append(build_run_section(folder, metric.partition("/")[0], page))
    return sections


def _print_summary(report: "Report") -> None:
    for answer in report.answers:
        print_text(answer.text, indent="  ", file=sys.stderr)
    for caveat in report.caveats:
        print_note(caveat)
    if report.hint:
        inform(f"hint: {report.hint}")


def _save_plots(report: "Report", folder: Path) -> None:
    from mmrun.results.report.section import make_file_stem
    from mmrun.results.report.svg import save_plot

    for section in report.sections:
        for plot in section.plots:
            save_plot(plot, folder / make_file_stem(section, plot))


def _format_report(report: "Report", format: str, figures: Path | None, output: Path | None) -> str:
    """Return the text of the report; Markdown and LaTeX refer to the plots in `figures`."""
    from mmrun.results import formats
    from mmrun.results.report import page, text_formats

    if format == "html":
        return page.render_html(report, Path() if output is None else output.parent)
    if format == "csv":
        return formats.to_csv(report.records)
    link = None if figures is None else os.path.relpath(figures, Path() if output is None else output.parent)
    return text_formats.render_markdown(report, link) if format == "md" else text_formats.render_latex(report, link)
