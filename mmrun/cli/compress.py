"""mmrun compress: a smaller and faster run from a finished one."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_run, add_table_format, parse_number
from mmrun.cli.quantization import DEFAULT_MAX_DROP, add_quantization, build_quantization
from mmrun.cli.table import inform
from mmrun.errors import ConfigError, nearest
from mmrun.results.formatting import format_number
from mmrun.results.index import resolve
from mmrun.results.table import Table
from mmrun.values import Range

if TYPE_CHECKING:
    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.compress.pipeline import Plan
    from mmrun.deploy.compress.search import Candidate, Wish
    from mmrun.deploy.compress.source import Source
    from mmrun.results.folder import RunFolder

HELP = (
    "Write a smaller and faster run beside a finished one. Steps are taken in the order in which they are given; "
    "a SHARE is what is removed, above 0 and below 1."
)
SHARE = Range(above=0, below=1)
TARGETS = ("latency", "file", "parameters")


METHODS = {  # by flag
    "--prune": "set the smallest weights of all layers to zero",
    "--prune-per-layer": "set the smallest weights of each layer to zero",
    "--prune-filters": "remove filters and hidden units (extra compress)",
    "--prune-heads": "remove attention heads",
    "--drop-layers": "remove residual and transformer blocks",
    "--low-rank": "replace layers by products of two, which have so many fewer weights",
}


class AddStep(argparse.Action):
    """Appends a method and its amount to the steps, so that their order is that of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Append a step.

        Args:
            parser: of the verb.
            namespace: its `steps` grow.
            values: the amount.
            option_string: as typed.
        """
        namespace.steps = [*namespace.steps, (self.const, values)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    _add_steps(parser)
    add_quantization(parser.add_argument_group("8 bits, after all steps"))
    student = parser.add_argument_group("student, in place of steps")
    student.add_argument(
        "--student",
        nargs="+",
        metavar="OVERRIDE",
        help="train a smaller model that learns from the predictions of RUN: encoder.text=gru budget.epochs=5",
    )
    search = parser.add_argument_group("search, in place of steps")
    search.add_argument(
        "--target",
        metavar="NAME=RATIO",
        nargs="+",
        help="find the steps that reach this ratio to the original: latency=0.5, file=0.3, parameters=0.5",
    )
    parser.add_argument(
        "--max-drop",
        type=parse_number(float, Range(at_least=0)),
        metavar="X",
        help="by how much 8 bits or a search may worsen the primary metric on validation rows (default: "
        f"{DEFAULT_MAX_DROP:g})",
    )
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="example rows where the data of the run is gone; 8 bits: read ranges of activations from these rows",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="the new run folder (default: beside RUN)")
    add_table_format(parser)


def _add_steps(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(steps=[])
    steps = parser.add_argument_group("steps")

    def add_step(flag: str, metavar: str, kind: Callable[[str], float], description: str) -> None:
        name = flag.removeprefix("--").replace("-", "_")
        steps.add_argument(
            flag,
            action=AddStep,
            const=name,
            type=kind,
            default=argparse.SUPPRESS,
            dest=f"step_{name}",
            metavar=metavar,
            help=description,
        )

    for flag, description in METHODS.items():
        add_step(flag, "SHARE", parse_number(float, SHARE), description)
    clusters = "let the weights of each layer share K values, 2 to 256: the file holds a code for each"
    add_step("--cluster", "K", parse_number(int, Range(at_least=2, at_most=256)), clusters)
    steps.add_argument(
        "--importance",
        choices=["l1", "taylor"],
        default="l1",
        help="what filters and heads are chosen by: the size of their weights, or their effect on the loss of training "
        "rows (default: l1)",
    )
    steps.add_argument(
        "--finetune-epochs",
        type=parse_number(float, Range(at_least=0, at_most=100_000)),
        default=0.0,
        metavar="N",
        help="then train for N epochs as the last stage of the run did (default: 0)",
    )


def run(args: argparse.Namespace) -> int:
    """Compress, and print the original and the new run side by side.

    Returns:
        The exit code: 0, or 1 if no steps meet the target.
    """
    quantization = build_quantization(args)
    _check_arguments(args)
    max_drop = DEFAULT_MAX_DROP if args.max_drop is None else args.max_drop
    targets = {} if args.target is None else parse_targets(args.target)

    folder = resolve(args.run)
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")

    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.compress.pipeline import Plan, compress
    from mmrun.deploy.compress.search import Wish
    from mmrun.deploy.compress.source import open_source
    from mmrun.deploy.compress.steps import Step
    from mmrun.deploy.compress.student import train_student

    with Terminal() as terminal:
        source = open_source(folder, terminal, args.rows)
        if targets:
            wish = Wish(targets, max_drop, args.importance, args.finetune_epochs)
            plan = _search(source, wish, args.format, terminal)
            if plan is None:
                return 1
        else:
            steps = tuple(Step(*step) for step in args.steps)
            plan = Plan(steps, args.importance, args.finetune_epochs, quantization, max_drop)
        slug = plan.slug if args.student is None else "student"
        path = folder.path.with_name(f"{folder.name}-{slug}") if args.output is None else args.output
        if args.student is None:
            compressed = compress(source, plan, path, terminal)
        else:
            compressed = train_student(source, args.student, path, terminal)
    _print_result(folder, compressed, args.format)
    return 0


def _check_arguments(args: argparse.Namespace) -> None:
    """Raise a ConfigError if the options are about different ways of compressing."""
    ways = {
        "steps": bool(args.steps) or args.quantize is not None,
        "--student": args.student is not None,
        "--target": args.target is not None,
    }
    chosen = [way for way, is_chosen in ways.items() if is_chosen]
    if len(chosen) != 1:
        flags = ", ".join(METHODS)
        raise ConfigError(
            f"name either steps ({flags}, --cluster, --quantize), --student OVERRIDE, or --target latency=0.5, which "
            "also tries 8 bits"
        )
    if args.student is not None and (args.finetune_epochs or args.importance != "l1"):
        raise ConfigError("--student: is trained for the budget of RUN; set it with --student ... budget.epochs=N")
    if args.finetune_epochs and not args.steps and args.target is None:
        raise ConfigError("--finetune-epochs: nothing is trained before --quantize alone; add a step, or drop this")


def parse_targets(texts: Sequence[str]) -> dict[str, float]:
    """Parse what the compressed run must reach.

    Args:
        texts: NAME=RATIO each.

    Returns:
        Ratio to the original by name.

    Raises:
        ConfigError: there is no such target, or a ratio is not between 0 and 1.
    """
    targets = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in TARGETS:
            raise ConfigError(f"--target: no target '{name}'{nearest(name, TARGETS)} (there are {', '.join(TARGETS)})")
        try:
            targets[name] = parse_number(float, SHARE)(value)
        except argparse.ArgumentTypeError:
            raise ConfigError(f"--target {text}: write {name}=RATIO, a number above 0 and below 1") from None
    return targets


def _search(source: "Source", wish: "Wish", table_format: str, terminal: "Terminal") -> "Plan | None":
    from mmrun.deploy.compress.search import describe_targets, search

    findings = search(source, wish, terminal)
    targets = describe_targets(wish.targets)
    if not findings.candidates:
        smallest = describe_targets(findings.smallest)
        inform(
            f"nothing reaches {targets}; the smallest ratios are {smallest or 'those of the original'}; ask for less"
        )
        return None
    if table_format == "table":
        print_answer(Answer([_build_candidates(findings.candidates, findings.best, wish)], {}, []), table_format)
    if findings.best is None:
        inform(f"nothing reaches {targets} with a drop of at most {wish.max_drop:g}; {_advise(wish)}")
        return None
    return findings.best.plan


def _advise(wish: "Wish") -> str:
    more = "add" if wish.finetune_epochs == 0 else "raise"
    return f"{more} --finetune-epochs, allow a larger --max-drop, or ask for less"


def _build_candidates(candidates: "Sequence[Candidate]", best: "Candidate | None", wish: "Wish") -> Table:
    measured = [name for name in TARGETS if name != "latency" or name in wish.targets]
    rows = []
    for candidate in candidates:
        mark = " *" if candidate is best else ""
        numbers = [format_number(candidate.value), format_number(candidate.drop)]
        numbers += [f"{candidate.ratios[name]:.2f}" for name in measured]
        rows.append([candidate.plan.name + mark, *numbers])
    return Table("on validation rows; times the original", ["steps", "metric", "drop", *measured], rows)


def _print_result(original: "RunFolder", compressed: "RunFolder", format: str) -> None:
    from mmrun.results.index import find_primary_metric
    from mmrun.results.inference_table import build_inference_table

    metrics = compressed.read_metrics()
    inference = metrics["inference"]
    metric, value = find_primary_metric(original.read_metrics())
    parts: list[Table | str] = []
    values = {original.name: value}
    if metric is not None and "test" in metrics["metrics"]:
        values[compressed.name] = metrics["metrics"]["test"].get(metric)
        rows = [[run, format_number(number)] for run, number in values.items()]
        parts.append(Table("", ["run", f"test/{metric}"], rows))
    parts.append(build_inference_table(inference))
    document = {"run": str(compressed.path), "metric": metric, "values": values, "inference": inference}
    records = [
        {"run": original.name, "metric": metric, "value": value, **inference["original"]},
        {"run": compressed.name, "metric": metric, "value": values.get(compressed.name), **inference["compressed"]},
    ]
    print_answer(Answer(parts, document, records, written=compressed.path), format)
    if format == "table":
        inform(f"{compressed.path}\ncompare them: mmrun compare {original.path} {compressed.path} --by compress")
