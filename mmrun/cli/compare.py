"""mmrun compare: groups of runs side by side, with statistics and cost."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrun.cli.answer import print_json, print_parts
from mmrun.cli.arguments import add_folders, add_where, split_keys
from mmrun.cli.output import echo
from mmrun.cli.table import print_note
from mmrun.errors import ConfigError
from mmrun.results.index import OUTPUTS, resolve

if TYPE_CHECKING:
    from mmrun.results.compare import Question
    from mmrun.results.comparison_tables import Result
    from mmrun.results.examples import RowGroups
    from mmrun.results.folder import RunFolder

HELP = "Compare groups of finished runs: mean, 95 % interval, difference to a baseline with its p-value, and cost."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_question(parser, "test/accuracy")
    _add_modes(parser)
    _add_groups(parser)
    parser.add_argument("--format", choices=["table", "md", "csv", "json", "latex"], default="table")


def _add_modes(parser: argparse.ArgumentParser) -> None:
    modes = parser.add_argument_group("in place of a single comparison").add_mutually_exclusive_group()
    modes.add_argument(
        "--curve-over",
        metavar="KEY",
        help="compare for each value of a key (dataset.labelled, budget.epochs, cost.total_parameters), and find where "
        "the curves of the groups cross",
    )
    modes.add_argument(
        "--rank-over",
        metavar="KEY[,KEY]",
        help="rank the groups over several data sets, or other keys: Friedman's test, Nemenyi's critical difference",
    )
    modes.add_argument(
        "--examples",
        action="store_true",
        help="compare two runs row by row, by their stored predictions: mmrun compare A B --examples",
    )


def _add_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="with --examples: rows with the same value of this column of the data file belong together, as those of a "
        "patient (default: the data set's own group column)",
    )


def add_question(parser: argparse.ArgumentParser, metric: str | None) -> None:
    """Declare the arguments that `compare` and `report` share: which runs to compare, and how.

    Args:
        parser: of the verb.
        metric: compared by default; None: the primary metric of the first run.
    """
    add_folders(parser, OUTPUTS)
    _add_grouping(parser, metric)
    _add_statistics(parser)
    _add_cost(parser)


def _add_grouping(parser: argparse.ArgumentParser, metric: str | None) -> None:
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        default="strategy",
        help="group runs by a choice (strategy, fusion, dataset, encoder.image) or any key of the config "
        "(dataset.labelled, budget.epochs); default: strategy",
    )
    default = "the primary metric of the first run" if metric is None else metric
    parser.add_argument("--metric", metavar="SPLIT/NAME", default=metric, help=f"default: {default}")
    parser.add_argument(
        "--against",
        metavar="VALUE",
        help="the baseline: a value of a --by key; with several keys, the compared groups are equal in the other keys",
    )
    parser.add_argument(
        "--paired",
        metavar="KEY[,KEY]",
        nargs="?",
        const="seed",
        help="pair each run with the run of the baseline that has the same seed, or other keys; without it, groups "
        "are treated as independent; without --against, the first group is the baseline",
    )
    add_where(parser)


def _add_statistics(parser: argparse.ArgumentParser) -> None:
    statistics = parser.add_argument_group("statistics (docs/statistics.md)")
    statistics.add_argument(
        "--test",
        choices=["t", "wilcoxon", "permutation"],
        default="t",
        help="for the differences (default: t; Welch's if the groups are independent)",
    )
    statistics.add_argument(
        "--interval",
        choices=["t", "bca"],
        default="t",
        help="Student's t (default), or bootstrap for groups of 50 runs or more",
    )
    statistics.add_argument(
        "--correct",
        choices=["holm", "bh", "none"],
        default="holm",
        help="correction for multiple testing (default: holm)",
    )


def _add_cost(parser: argparse.ArgumentParser) -> None:
    cost = parser.add_argument_group("cost")
    cost.add_argument(
        "--match",
        choices=["budget", "epochs", "seconds", "flops"],
        default="budget",
        help="groups are on equal terms if they spent the same of this (default: budget, the one they were given)",
    )
    cost.add_argument(
        "--amortise",
        metavar="K",
        type=int,
        default=1,
        help="divide the cost of pre-training encoders by the number of fusions that start from them, and report the "
        "number from which it pays off",
    )


def run(args: argparse.Namespace) -> int:
    """Print the comparison; its caveats go to stderr."""
    from mmrun.results import comparison_tables  # here: SciPy takes half a second, which `-h` does not need

    result = _compare_two_runs(args) if args.examples else _compare_groups(args)
    _print_result(result, args.format)
    for notice in comparison_tables.collect_notices(result):
        print_note(notice)
    return 0


def parse_question(args: argparse.Namespace) -> "Question":
    """Collect the arguments that `add_question` declares.

    Args:
        args: the parsed command line.

    Returns:
        How to compare the runs; an empty metric if none is given.
    """
    from mmrun.results.compare import Question

    return Question(
        metric="" if args.metric is None else args.metric,
        by=split_keys(args.by),
        against=args.against,
        paired=() if args.paired is None else split_keys(args.paired),
        test=args.test,
        interval=args.interval,
        correct=args.correct,
        match=args.match,
        amortise=args.amortise,
    )


def _compare_groups(args: argparse.Namespace) -> "Result":
    from mmrun.results import selection
    from mmrun.results.comparability import describe_seeded_splits
    from mmrun.results.environment import find_differing_environments

    if args.groups is not None:
        raise ConfigError("--groups: belongs to --examples; to compare groups of runs use --by")
    question = parse_question(args)
    runs, notices = selection.read_finished(args.folders)
    runs, by, separation = selection.separate_compressed(selection.filter_runs(runs, args.where), question.by)
    question = replace(question, by=by)
    notices += [*separation, *find_differing_environments(runs), *describe_seeded_splits(runs)]
    if args.curve_over is not None:
        from mmrun.results.curves import compare_across

        return compare_across(runs, question, args.curve_over.replace("/", "."), notices)
    if args.rank_over is not None:
        from mmrun.results.ranks import rank

        return rank(runs, question, split_keys(args.rank_over), notices)
    from mmrun.results.compare import compare

    return compare(runs, question, notices)


def _compare_two_runs(args: argparse.Namespace) -> "Result":
    from mmrun.results.examples import examine

    if len(args.folders) != 2:
        raise ConfigError(
            f"--examples: compares two runs, not {len(args.folders)}; name them: mmrun compare A B --examples"
        )
    run_a, run_b = (resolve(str(run)) for run in args.folders)
    return examine(run_a, run_b, args.metric.partition("/")[0], _read_groups(run_a, args.groups))


def _read_groups(run: "RunFolder", column: str | None) -> "RowGroups | None":
    """Read which rows belong together from the data file of a run; None where no column says it."""
    from mmrun.results.examples import RowGroups

    dataset = run.read_config()["dataset"]
    column = dataset.get("group") if column is None else column
    if column is None:
        return None
    from mmrun.evaluation.subgroups import read_column  # loads torch

    return RowGroups(column, read_column(dataset, column, "--groups"))


def _print_result(result: "Result", format: str) -> None:
    from mmrun.results import comparison_tables, formats, records

    notices = comparison_tables.collect_notices(result)
    if format == "json":
        print_json(records.to_json(result))
    elif format == "csv":
        echo(formats.to_csv(records.to_records(result)), end="")
    elif format == "md":
        echo("\n\n".join(map(formats.to_markdown, comparison_tables.build_tables(result))))
        for notice in notices:
            echo(f"\n- Note: {formats.escape_markdown(notice)}", end="")
        echo(end="\n" if notices else "")
    elif format == "latex":
        echo("\n\n".join(map(formats.to_latex, comparison_tables.build_tables(result))))
        for notice in notices:
            echo(f"\\par\\smallskip{{\\footnotesize Note: {formats.escape_latex(notice)}\\par}}")
    else:
        print_parts(comparison_tables.build_tables(result))
