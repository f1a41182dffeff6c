"""`mmrun compare`: groups of runs side by side, with statistics and cost."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.table import print_table
from mmrun.errors import ConfigError
from mmrun.results.index import OUTPUTS

if TYPE_CHECKING:
    from mmrun.results.compare import Question
    from mmrun.results.tables import Result

HELP = "Compare groups of finished runs: mean and 95 % interval, difference to a baseline and its p, and cost."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_question(parser, "test/accuracy")
    along = parser.add_argument_group("instead of one comparison").add_mutually_exclusive_group()
    along.add_argument(
        "--curve-over",
        metavar="KEY",
        help="a comparison for each value of a key (dataset.labelled, budget.epochs, cost.total_parameters), and where "
        "the groups' curves cross",
    )
    along.add_argument(
        "--rank-over",
        metavar="KEY[,KEY]",
        help="ranks over several data sets, or other keys: Friedman's test, Nemenyi's critical difference",
    )
    along.add_argument(
        "--examples", action="store_true", help="two runs, row by row, from their stored predictions: mmrun compare A B"
    )
    parser.add_argument("--format", choices=["table", "md", "csv", "json", "latex"], default="table")


def add_question(parser: argparse.ArgumentParser, metric: str | None) -> None:
    """Declare what `compare` and `report` are both asked."""
    parser.add_argument("folders", nargs="*", type=Path, default=[OUTPUTS], help="where to look (default: outputs)")
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default="strategy",
        help="what makes a group: a choice (strategy, fusion, dataset, encoder.image) or any key of the config "
        "(dataset.labelled, budget.epochs); default: strategy",
    )
    told = "what the first run puts first" if metric is None else metric
    parser.add_argument("--metric", metavar="SPLIT/NAME", default=metric, help=f"default: {told}")
    parser.add_argument(
        "--against",
        metavar="VALUE",
        help="the baseline: a value of a --by key; with several keys, the groups compared are alike in the others",
    )
    parser.add_argument(
        "--paired",
        metavar="KEY[,KEY]",
        nargs="?",
        const="seed",
        help="compare runs one by one with the baseline's of the same seed, or other keys; "
        "without it the groups count as independent",
    )
    parser.add_argument("--where", metavar="KEY=VALUE", nargs="+", default=[], help="only runs that have these values")
    statistics = parser.add_argument_group("statistics (docs/statistics.md)")
    statistics.add_argument(
        "--test",
        choices=["t", "wilcoxon", "permutation"],
        default="t",
        help="of the differences (default: t; Welch's where the groups are independent)",
    )
    statistics.add_argument(
        "--interval", choices=["t", "bca"], default="t", help="Student's (default) or bootstrapped, for 20 runs or more"
    )
    statistics.add_argument(
        "--correct", choices=["holm", "bh", "none"], default="holm", help="for testing several groups (default: holm)"
    )
    cost = parser.add_argument_group("cost")
    cost.add_argument(
        "--match",
        choices=["budget", "epochs", "seconds", "flops"],
        default="budget",
        help="what groups must have spent alike to be on equal terms (default: the budget they were given)",
    )
    cost.add_argument(
        "--amortise",
        metavar="K",
        type=int,
        default=1,
        help="divide what encoders learned alone by the number of fusions that start from it, and say from which "
        "number on that pays",
    )


def run(args: argparse.Namespace) -> int:
    """Print what was found, and on stderr what to know before believing it."""
    from mmrun.results import tables  # late: SciPy takes half a second, and `-h` needs none

    result = _found(args)
    _print(result, args.format)
    for notice in tables.collect_notices(result):
        print(f"note: {notice}", file=sys.stderr)
    return 0


def question(args: argparse.Namespace) -> "Question":
    """Read what is asked."""
    from mmrun.results.compare import Question

    return Question(
        metric="" if args.metric is None else args.metric,
        by=keys(args.by),
        against=args.against,
        paired=() if args.paired is None else keys(args.paired),
        test=args.test,
        interval=args.interval,
        correct=args.correct,
        match=args.match,
        amortise=args.amortise,
    )


def keys(words: str) -> tuple[str, ...]:
    """Read KEY[,KEY]; encoder/image is encoder.image."""
    return tuple(words.replace("/", ".").split(","))


def _found(args: argparse.Namespace) -> "Result":
    asked = question(args)
    if args.examples:
        return _examples(args)
    from mmrun.results import selection

    runs, notices = selection.read_finished(args.folders)
    runs = selection.filter_runs(runs, args.where)
    if args.curve_over is not None:
        from mmrun.results.curves import compare_across

        return compare_across(runs, asked, args.curve_over.replace("/", "."), notices)
    if args.rank_over is not None:
        from mmrun.results.ranks import rank

        return rank(runs, asked, keys(args.rank_over), notices)
    from mmrun.results.compare import compare

    return compare(runs, asked, notices)


def _examples(args: argparse.Namespace) -> "Result":
    from mmrun.results.examples import examine
    from mmrun.results.index import resolve

    if len(args.folders) != 2:
        raise ConfigError(f"--examples: name two runs, not {len(args.folders)}: mmrun compare A B --examples")
    one, other = (resolve(str(run)) for run in args.folders)
    return examine(one, other, args.metric.partition("/")[0])


def _print(result: "Result", format: str) -> None:
    from mmrun.results import formats, records, tables

    notices = tables.collect_notices(result)
    if format == "json":
        print(json.dumps(records.to_json(result), indent=1))
    elif format == "csv":
        print(formats.to_csv(records.to_records(result)), end="")
    elif format == "md":
        print("\n\n".join(map(formats.to_markdown, tables.build_tables(result))))
        print("".join(f"\n- Note: {notice}" for notice in notices), end="\n" if notices else "")
    elif format == "latex":
        print("\n\n".join(map(formats.to_latex, tables.build_tables(result))))
        for notice in notices:
            print(f"\\par\\smallskip{{\\footnotesize Note: {formats.escape_latex(notice)}\\par}}")
    else:
        for place, table in enumerate(tables.build_tables(result)):
            print(f"{chr(10) if place else ''}{table.caption}")
            print_table(table.header, table.rows, table.left)
