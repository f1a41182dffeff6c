"""`mmrun eval`: what a finished run's modalities are worth, how noise hurts it, whom it serves worst."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from mmrun.cli.table import format_number, print_table
from mmrun.errors import ConfigError, MmrunError
from mmrun.results.schema import RunRecord

HELP = "Evaluate a finished run with modalities missing or spoiled: what each one is worth. Kept in evaluation.json."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", metavar="RUN", help="a run's folder, or the beginning of its name or hash")
    parser.add_argument("--split", choices=["val", "test"], default="test", help="default: test")
    parser.add_argument(
        "--all", action="store_true", help="also under noise of growing severity, and the encoders before the fusion"
    )
    parser.add_argument(
        "--unimodal-runs", metavar="RUN", help="a run of strategy=unimodal that says what each modality reaches alone"
    )
    parser.add_argument("--group", metavar="COLUMN", help="also by the values of a column of the data set's file")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    what_if = parser.add_argument_group("what if (printed, not kept)")
    what_if.add_argument("--missing", metavar="MODALITY[,...]", help="without these modalities")
    what_if.add_argument("--noise", metavar="MODALITY=SEVERITY[,...]", help="with these spoiled, from 0 to 1")
    what_if.add_argument(
        "--zero-shot",
        metavar="PROMPTS",
        help="name classes by words, in the space where a stage aligned text: 'the digit {}', or a prompt for each "
        "class, commas between them",
    )
    what_if.add_argument(
        "--fill",
        choices=["absent", "zeros", "shuffled"],
        default="absent",
        help="what is missing is known to be absent (default), is all zeros, or is another row's",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate, keep and print."""
    from mmrun.results.index import resolve

    folder = resolve(args.run)
    unimodal = None if args.unimodal_runs is None else resolve(args.unimodal_runs)
    missing, noise = _what_if(args, list(folder.read_config()["encoder"]))

    from mmrun import evaluation
    from mmrun.cli.terminal import Terminal
    from mmrun.run.pipeline import reopen

    session = reopen(folder, Terminal(live=False))
    if args.zero_shot is not None:
        from mmrun.evaluation.zero_shot import zero_shot

        named = zero_shot(session, args.split, args.zero_shot.split(","))
        print(json.dumps(named, indent=1)) if args.format == "json" else _print_zero_shot(named)
        return 0
    if missing or noise:
        answers = evaluation.what_if(session, args.split, missing, noise, args.fill)
        print(json.dumps(answers, indent=1)) if args.format == "json" else _print_answers(answers)
        return 0
    found = evaluation.evaluate(session, args.split, args.all, unimodal, args.group)
    evaluation.keep(folder, found)
    if args.format == "json":
        print(folder.evaluation_file.read_text("utf-8"), end="")
    else:
        _print_evaluation(found)
    for line in _notes(found):
        print(f"note: {line}", file=sys.stderr)
    return 0


def evaluate_lacking(runs: Sequence[RunRecord], split: str) -> None:
    """Evaluate wholly, and keep, those of some finished runs that were not; one that cannot be is said and left out."""
    from mmrun.results.evaluations import find_unevaluated
    from mmrun.results.folder import RunFolder

    left = [RunFolder(run["folder"]) for run in find_unevaluated(runs, split)]
    if not left:
        return

    from mmrun import evaluation
    from mmrun.cli.terminal import Terminal
    from mmrun.run.pipeline import reopen

    for place, folder in enumerate(left, start=1):
        began = time.monotonic()
        try:
            evaluation.keep(folder, evaluation.evaluate(reopen(folder, Terminal(live=False)), split, everything=True))
        except MmrunError as error:
            print(f"note: not evaluated: {error}", file=sys.stderr)
            continue
        seconds = time.monotonic() - began
        print(f"evaluated {place} of {len(left)}: {folder.name} ({seconds:.1f} s)", file=sys.stderr)


def _what_if(args: argparse.Namespace, modalities: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """Read --missing and --noise."""
    missing = [] if args.missing is None else args.missing.split(",")
    for modality in missing:
        _check_known("--missing", modality, modalities)
    if set(missing) == set(modalities):
        raise ConfigError(f"--missing {args.missing}: nothing is left; name fewer than all of {', '.join(modalities)}")
    noise = {}
    for word in [] if args.noise is None else args.noise.split(","):
        modality, _, severity = word.partition("=")
        _check_known("--noise", modality, modalities)
        if modality in missing:
            raise ConfigError(f"--noise {word}: {modality} is --missing already; name it once")
        noise[modality] = _severity(word, severity)
    return missing, noise


def _check_known(flag: str, modality: str, modalities: Sequence[str]) -> None:
    if modality not in modalities:
        from mmrun.compose import nearest  # late: it brings Hydra along

        near = nearest(modality, modalities)
        raise ConfigError(f"{flag}: the run has no modality '{modality}'{near} (it has {', '.join(modalities)})")


def _severity(word: str, text: str) -> float:
    try:
        severity = float(text)
    except ValueError:
        raise ConfigError(f"--noise {word}: not of the form MODALITY=SEVERITY, as in image=0.3") from None
    if not 0 <= severity <= 1:
        raise ConfigError(f"--noise {word}: a severity lies between 0 and 1")
    return severity


def _notes(found: dict[str, Any]) -> list[str]:
    """Print caveats of the metrics."""
    notes = []
    if len(found["modalities"]) > 1 and not found["saw_missing"]:
        notes.append(
            "in training every row had every modality, so this model was never taught what it is asked here: "
            "strategy=modality_dropout teaches it, --unimodal-runs RUN says what each modality reaches alone"
        )
    for name, said in found["synergy"].items():
        if said["flagged"]:
            notes.append(f"{name}: the fusion adds nothing to {said['best']} alone ({said['gap']:+.4f})")
    return notes


# ------------------------------------------------------------------------------------------------------ in tables


def _print_answers(answers: Sequence[dict[str, Any]]) -> None:
    columns = ["as it is", *(_condition(answer["given"]) for answer in answers[1:])]
    names = list(answers[0]["metrics"])
    print_table(["metric", *columns], [[n, *(format_number(a["metrics"].get(n)) for a in answers)] for n in names])


def _condition(given: dict[str, Any]) -> str:
    """Describe a condition: "no audio, image gaussian 0.3"."""
    said = [f"no {modality}" for modality, what in given.items() if what is None]
    for modality, what in given.items():
        if what is not None and what[0] != "clean":
            said.append(f"{modality} {what[0]}" + (f" {what[1]:g}" if what[1] > 0 else ""))
    return ", ".join(said)


def _print_zero_shot(named: dict[str, Any]) -> None:
    header = list(next(iter(named["metrics"].values())))
    print_table(
        ["modality", *header],
        [
            [modality, *(format_number(figures[name]) for name in header)]
            for modality, figures in named["metrics"].items()
        ],
    )
    print(
        f"{named['split']} rows, by the prompts {', '.join(named['prompts'])} after {named['stage']}", file=sys.stderr
    )


def _print_evaluation(found: dict[str, Any]) -> None:
    for name in found["primary_metrics"]:
        print(f"{found['run']}: {name} on {found['rows']} {found['split']} rows\n")
        _print_missing(found, name)
        _print_worth(found, name)
        if "robustness" in found:
            _print_robustness(found["robustness"], name)
    if found.get("drift"):
        _print_drift(found["drift"])
    for task, said in found.get("groups", {}).items():
        _print_groups(task, said)


def _print_missing(found: dict[str, Any], name: str) -> None:
    fills = found["missing"]
    rows = [["none", *[format_number(found["constant"][name])] * len(fills)]]
    for same in zip(*fills.values(), strict=True):
        rows.append([" ".join(same[0]["present"]), *(format_number(one["metrics"][name]) for one in same)])
    print_table(["kept", *(f"others {fill}" for fill in fills)], rows)


def _print_worth(found: dict[str, Any], name: str) -> None:
    said = found["synergy"][name]
    worth = found["shapley"][name]["absent"]
    print()
    print_table(
        ["modality", "Shapley", "alone"], [[m, format_number(worth[m]), format_number(said["alone"][m])] for m in worth]
    )
    print(
        f"\nfusion {format_number(said['fused'])}, {said['best']} alone {format_number(said['alone'][said['best']])}: ",
        end="",
    )
    print(f"synergy gap {said['gap']:+.4f} (alone: {said['ceilings']})")


def _print_robustness(robustness: dict[str, Any], name: str) -> None:
    rows = []
    for modality, said in robustness["metrics"][name].items():
        for corruption, curve in said["curves"].items():
            rows.append([modality, corruption, *_robust(curve["fused"], curve)])
        if len(said["curves"]) > 1:
            rows.append([modality, "mean", *_robust([None] * len(robustness["severities"]), said)])
    print()
    severities = [f"{severity:g}" for severity in robustness["severities"]]
    print_table(["noise in", "corruption", *severities, "relative", "effective"], rows, left=2)


def _robust(values: Sequence[float | None], said: dict[str, Any]) -> list[str]:
    cells = ["" if value is None else format_number(value) for value in values]
    return [*cells, format_number(said["relative"]), f"{said['effective']:+.4f}"]


def _print_drift(drift: dict[str, Any]) -> None:
    tasks = list(next(iter(drift.values()))["probe"])
    header = [
        "encoder",
        "since the end of",
        "CKA",
        *(f"{task}: probe {when}" for task in tasks for when in ("then", "now")),
    ]
    rows = []
    for modality, said in drift.items():
        probes = [format_number(said["probe"][task][when]) for task in tasks for when in ("before", "after")]
        rows.append([modality, said["after_stage"], format_number(said["cka"]), *probes])
    print()
    print_table(header, rows, left=2)


def _print_groups(task: str, said: dict[str, Any]) -> None:
    rows = [
        [
            group or "(empty)",
            str(one["rows"]),
            format_number(one.get(said["primary_metric"])),
            "worst" if group == said["worst"] else "",
        ]
        for group, one in said["groups"].items()
    ]
    print()
    print_table([f"{said['column']} ({task})", "rows", said["primary_metric"], ""], rows)
