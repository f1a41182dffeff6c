"""`mmrun report`: what runs answer, on one page."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.compare import add_question, keys, question

if TYPE_CHECKING:
    from mmrun.results.report.content import Report

HELP = "Write a page that answers the question behind finished runs, with tables, plots and all caveats."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_question(parser, None)
    parser.add_argument(
        "--apart",
        metavar="KEY[,KEY]",
        help="keys that hold settings apart, each compared for itself (default: those in which runs of one group and "
        "seed differ); crossings are sought along those whose values are numbers, ranks over the others",
    )
    parser.add_argument(
        "--eval",
        action="store_true",
        help="first evaluate the runs that `mmrun eval --all` has not seen, some seconds each: what each modality is "
        "worth, noise, encoders before and after; where it is cut off, the next call goes on",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report.html; others: stdout")
    parser.add_argument("--format", choices=["html", "md", "latex", "csv"], default="html")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="also write every plot here, as SVG and PDF")


def run(args: argparse.Namespace) -> int:
    """Write the report; its answers go to stderr too."""
    from mmrun.results.report import content, findings

    apart = () if args.apart is None else keys(args.apart)
    found = findings.find(args.folders, question(args), args.where, apart)
    if args.eval:
        from mmrun.cli.eval import evaluate_lacking

        evaluate_lacking(found.runs, found.question.metric.partition("/")[0])
    report = content.compose(found)
    output = Path("report.html") if args.output is None and args.format == "html" else args.output
    if args.figures is not None:
        _draw(report, args.figures)
    text = _written(report, args.format, args.figures, output)
    if output is None:
        print(text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    for answer in report.answers:
        print(answer.text, file=sys.stderr)
    for caveat in report.caveats:
        print(f"note: {caveat}", file=sys.stderr)
    if report.hint:
        print(f"hint: {report.hint}", file=sys.stderr)
    if output is not None:
        print(f"wrote {output}", file=sys.stderr)
    return 0


def _draw(report: "Report", folder: Path) -> None:
    from mmrun.results.report.section import stem
    from mmrun.results.report.svg import save

    for section in report.sections:
        for plot in section.plots:
            save(plot, folder / stem(section, plot))


def _written(report: "Report", format: str, figures: Path | None, output: Path | None) -> str:
    from mmrun.results import formats
    from mmrun.results.report import page, text_formats

    if format == "html":
        return page.html(report)
    if format == "csv":
        return formats.to_csv(report.records)
    link = None if figures is None else os.path.relpath(figures, Path() if output is None else output.parent)
    return text_formats.markdown(report, link) if format == "md" else text_formats.latex(report, link)
