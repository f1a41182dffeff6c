"""mmrun eval: contribution of each modality, robustness to noise, and subgroups of a finished run."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import print_answer
from mmrun.cli.arguments import add_run, add_table_format, format_flag
from mmrun.cli.table import inform, print_note
from mmrun.errors import ConfigError, MmrunError, nearest
from mmrun.results.index import resolve

if TYPE_CHECKING:
    from mmrun.results.evaluation_schema import Evaluation
    from mmrun.results.folder import RunFolder
    from mmrun.results.schema import RunRecord
    from mmrun.run.session import Session

HELP = "Measure what each modality of a finished run contributes, and write it to evaluation.json of the run folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("--split", choices=["val", "test"], help="rows to evaluate (default: test)")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also under noise of growing severity, and how later stages changed the encoders",
    )
    parser.add_argument(
        "--unimodal-runs", metavar="RUN", help="a run of strategy=unimodal, whose probes show each modality alone"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="metrics on another labelled file instead; the training data may be gone",
    )
    parser.add_argument("--root", type=Path, help="folder that file names in --data are relative to (default: its own)")
    parser.add_argument(
        "--on-error",
        choices=["raise", "skip"],
        default="raise",
        help="skip: leave bad rows of --data out, and list them",
    )
    parser.add_argument("--group", metavar="COLUMN", help="also by subgroup: the values of a column of the data file")
    add_table_format(parser)
    _add_what_if(parser)


def _add_what_if(parser: argparse.ArgumentParser) -> None:
    what_if = parser.add_argument_group("what if (printed, not stored)")
    what_if.add_argument("--missing", metavar="MODALITY[,...]", help="evaluate without these modalities")
    what_if.add_argument(
        "--noise", metavar="MODALITY=SEVERITY[,...]", help="corrupt these modalities; a severity is from 0 to 1"
    )
    what_if.add_argument(
        "--zero-shot",
        metavar="PROMPTS",
        help="classify by text prompts, in the embedding space where a stage aligned text: 'the digit {}', or one "
        "prompt per class, separated by commas",
    )
    what_if.add_argument(
        "--fill",
        choices=["absent", "zeros", "shuffled"],
        help="the input of a missing modality: marked as absent (default), zeros, or that of another row",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate the run; store and print the result."""
    folder = resolve(args.run)
    if args.data is not None:
        return _evaluate_file(folder, args)
    if args.root is not None or args.on_error != "raise":
        raise ConfigError("--root and --on-error: belong to --data FILE; add it, or drop them")
    args.split, args.fill = args.split or "test", args.fill or "absent"
    unimodal = None if args.unimodal_runs is None else resolve(args.unimodal_runs)
    modalities = list(folder.read_config()["encoder"])
    missing = parse_missing(args.missing, modalities)
    noise = parse_noise(args.noise, modalities, missing)

    from mmrun import evaluation
    from mmrun.cli import eval_tables
    from mmrun.cli.terminal import Terminal
    from mmrun.run.opening import reopen

    session = reopen(folder, Terminal(live=False))
    if args.zero_shot is not None:
        _classify_zero_shot(session, args)
        return 0
    if missing or noise:
        conditions = evaluation.evaluate_what_if(session, args.split, missing, noise, args.fill)
        print_answer(eval_tables.describe_conditions(conditions), args.format)
        return 0
    result = evaluation.evaluate(session, args.split, args.all, unimodal, args.group)
    evaluation.save(folder, result)
    document = json.loads(folder.evaluation_file.read_text("utf-8"))  # with its digest
    print_answer(eval_tables.describe_evaluation(result, document), args.format)
    for note in _collect_notes(result):
        print_note(note)
    return 0


def _evaluate_file(folder: "RunFolder", args: argparse.Namespace) -> int:
    others = ("split", "all", "unimodal_runs", "group", "missing", "noise", "zero_shot", "fill")
    given_flags = [format_flag(name) for name in others if getattr(args, name)]
    if given_flags:
        raise ConfigError(f"--data: cannot be combined with {', '.join(given_flags)}, which concern the run's own rows")

    from mmrun.cli import eval_tables
    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.labelled import evaluate_file
    from mmrun.deploy.predictor import open_predictor

    result = evaluate_file(open_predictor(folder, Terminal(live=False)), args.data, args.root, args.on_error)
    print_answer(eval_tables.describe_file(result), args.format)
    for note in result["notes"]:
        print_note(note)
    for line in result["skipped"]:
        inform(f"skipped {line}")
    return 0


def _classify_zero_shot(session: "Session", args: argparse.Namespace) -> None:
    from mmrun.cli import eval_tables
    from mmrun.evaluation.zero_shot import classify_zero_shot

    result = classify_zero_shot(session, args.split, args.zero_shot.split(","))
    print_answer(eval_tables.describe_zero_shot(result), args.format)
    prompts = ", ".join(result["prompts"])
    inform(f"{result['split']} rows, classified by the prompts {prompts} after {result['stage']}")


def evaluate_remaining(runs: Sequence["RunRecord"], split: str) -> None:
    """Evaluate the runs that lack a full evaluation, and store the results. One that cannot be is reported and skipped.

    Args:
        runs: metrics of finished runs.
        split: val or test.
    """
    from mmrun.results.evaluations import find_unevaluated
    from mmrun.results.folder import RunFolder

    folders = [RunFolder(run["folder"]) for run in find_unevaluated(runs, split)]
    if not folders:
        return

    from mmrun import evaluation
    from mmrun.cli.terminal import Terminal
    from mmrun.run.opening import reopen

    for number, folder in enumerate(folders, start=1):
        started = time.monotonic()
        try:
            result = evaluation.evaluate(reopen(folder, Terminal(live=False)), split, full=True)
            evaluation.save(folder, result)
        except MmrunError as error:
            print_note(f"not evaluated: {error}")
            continue
        seconds = time.monotonic() - started
        inform(f"evaluated {number} of {len(folders)}: {folder.name} ({seconds:.1f} s)")


def parse_missing(text: str | None, modalities: Sequence[str]) -> list[str]:
    """Parse --missing.

    Args:
        text: MODALITY[,...]; None: not given.
        modalities: of the run.

    Returns:
        The missing modalities.

    Raises:
        ConfigError: the run has no such modality, or none is left.
    """
    missing = [] if text is None else text.split(",")
    for modality in missing:
        _check_modality("--missing", modality, modalities)
    if set(missing) == set(modalities):
        raise ConfigError(
            f"--missing {text}: leaves no modality to predict from; name fewer than all of {', '.join(modalities)}"
        )
    return missing


def parse_noise(text: str | None, modalities: Sequence[str], missing: Sequence[str]) -> dict[str, float]:
    """Parse --noise.

    Args:
        text: MODALITY=SEVERITY[,...]; None: not given.
        modalities: of the run.
        missing: modalities that --missing names.

    Returns:
        Severity by modality.

    Raises:
        ConfigError: the run has no such modality, it is missing, or a severity is not between 0 and 1.
    """
    noise = {}
    for setting in [] if text is None else text.split(","):
        modality, _, severity = setting.partition("=")
        _check_modality("--noise", modality, modalities)
        if modality in missing:
            raise ConfigError(f"--noise {setting}: {modality} is already --missing; name it only once")
        noise[modality] = _parse_severity(setting, severity)
    return noise


def _check_modality(flag: str, modality: str, modalities: Sequence[str]) -> None:
    if modality not in modalities:
        suggestion = nearest(modality, modalities)
        raise ConfigError(f"{flag}: the run has no modality '{modality}'{suggestion} (it has {', '.join(modalities)})")


def _parse_severity(setting: str, text: str) -> float:
    try:
        severity = float(text)
    except ValueError:
        raise ConfigError(f"--noise {setting}: not of the form MODALITY=SEVERITY, as in image=0.3") from None
    if not 0 <= severity <= 1:
        raise ConfigError(f"--noise {setting}: the severity must be between 0 and 1")
    return severity


def _collect_notes(result: "Evaluation") -> list[str]:
    """Return the caveats of an evaluation."""
    notes = []
    if len(result["modalities"]) > 1 and not result["saw_missing"]:
        notes.append(
            "every training row had every modality, so this model was never trained on missing modalities; "
            "strategy=modality_dropout does that, and --unimodal-runs RUN shows what each modality achieves alone"
        )
    for name, synergy in result["synergy"].items():
        if synergy["flagged"]:
            notes.append(
                f"{name}: the fusion is no better than {synergy['best']} alone (synergy gap {synergy['gap']:+.4f})"
            )
    return notes
