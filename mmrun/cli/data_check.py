"""mmrun data check: what a data set contains, and what is wrong with it."""

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrun.cli.answer import Answer, Command, Part, Record, format_list, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.cli.data_set import Node, open_table, read_group_cells
from mmrun.cli.dataset_arguments import add_file, compose_node
from mmrun.cli.survey import describe_survey, survey_file, train_command
from mmrun.results.table import Style, Table

if TYPE_CHECKING:
    from mmrun.data.checks.audit import Audit
    from mmrun.data.checks.finding import Finding
    from mmrun.data.table import Table as DataTable

HELP = "Inspect a data set before training on it: what it holds, what is wrong with it, where, and what to do."

AUDITED_FILES = 1000  # decoded per modality, unless --all is given
MAX_ROWS_PRINTED = 20  # in a list
MAX_CLASSES_PRINTED = 30
MAX_NAMES_PRINTED = 60  # of columns, in a cell
EXPLAINED = (
    "labels",
    "near-duplicates",
    "near-shared",
)  # kinds of findings whose rows are listed with what they are like

RECORD_COLUMNS = ("level", "kind", "what", "where", "what_to_do")

Facts = Mapping[str, Any]  # JSON values of an audit, by name
COLUMNS = (
    "kind",
    "missing",
    "missing_by_split",
    "looked_at",
    "columns",
    "told_by",
)  # facts of a modality with a column of their own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_file(parser)
    parser.add_argument(
        "--all", action="store_true", help=f"decode every file, not only {AUDITED_FILES} of each modality"
    )
    parser.add_argument("--no-labels", action="store_true", help="do not look for labels that are probably wrong")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the audit.

    Returns:
        The exit code: 2 if a run would reject the data set, else 0.
    """
    from mmrun.data.checks.finding import DROPPED_BY_DEFAULT

    node = compose_node(args.file, args.overrides)
    if not any(override.removeprefix("dataset.").startswith("target=") for override in args.overrides):
        survey = survey_file(node)
        if node["target"] not in [column.name for column in survey.columns]:
            print_answer(describe_survey(survey, node), args.format)
            return 0
    audit = _audit(node, None if args.all else AUDITED_FILES, judges_labels=not args.no_labels)
    errors = {finding.kind for finding in audit.findings if finding.level == "error"}
    is_usable = not errors
    parts: list[Part] = list(_iterate_parts(audit))
    if is_usable:
        parts.append(Command("to train", train_command(args.file, args.overrides)))
    if any(finding.kind in DROPPED_BY_DEFAULT for finding in audit.findings) and errors <= {"unreadable"}:
        words = ["mmrun", "data", "clean", args.file, *args.overrides, "-o", f"{Path(args.file).stem}.clean.csv"]
        parts.append(Command("to repair", shlex.join(words)))
    print_answer(Answer(parts, _to_document(audit), list(_iterate_records(audit)), RECORD_COLUMNS), args.format)
    return 0 if is_usable else 2


def _audit(node: Node, num_files: int | None, judges_labels: bool) -> "Audit":
    """Audit the data set, and add how the modalities were inferred and how the default encoders would read them."""
    from mmrun.config import LABELS
    from mmrun.data.checks.audit import audit
    from mmrun.instantiate import instantiate

    module = node["_target_"].rpartition(".")[0]
    inferred = instantiate({**node, "_target_": f"{module}.infer_modalities"}, "dataset", drop=LABELS)
    table = open_table(node)
    result = audit(table, num_files, judges_labels, read_group_cells(node, table))
    for name, modality in inferred.items():
        result.modalities[name]["columns"] = modality.columns
        result.modalities[name]["told_by"] = modality.reason
    rejected: list[Finding] = []
    result.notes.extend(_describe_preprocessing(table, rejected))
    findings = [*rejected, *result.findings]
    if node["on_error"] == "skip":
        findings = [
            replace(finding, level="warning") if finding.kind == "unreadable" else finding for finding in findings
        ]
    return replace(result, findings=findings)


def _describe_preprocessing(table: "DataTable", rejected: "list[Finding]") -> list[str]:
    """Describe what the default encoders of the modalities would read: lengths, and what is cut or changed.

    What a run with them would reject is added to the findings.
    """
    from mmrun.compose import DEFAULT_ENCODER, load_option
    from mmrun.data.checks.finding import split_remedy
    from mmrun.data.preprocess import items
    from mmrun.data.preprocess.notes import describe_preprocessors
    from mmrun.errors import DataError
    from mmrun.instantiate import instantiate

    preprocessors = {}
    for name, column in table.columns.items():
        if column.kind == "tabular":  # its notes are warnings of the audit
            continue
        encoder = DEFAULT_ENCODER[column.kind]
        node: Any = load_option(f"encoder/{column.kind}", encoder)["preprocess"]
        preprocessor = items.wrap(instantiate(node, f"encoder.{name}.preprocess"), column)
        try:
            preprocessor.fit(column, table.rows("train"))
        except DataError as error:
            rejected.append(replace(split_remedy("rejected", f"{name}: {error}"), level="error"))
        else:
            preprocessors[f"{name} (encoder {encoder})"] = preprocessor
    return describe_preprocessors(preprocessors)


# ---------------------------------------------------------------------------------------------------------- in tables


def _iterate_parts(audit: "Audit") -> Iterator[Table | str]:
    rows = ", ".join(f"{count} {split}" for split, count in audit.rows.items())
    yield f"{sum(audit.rows.values())} rows: {rows}"
    yield from _build_modalities(audit.modalities)
    for name, target in audit.targets.items():
        yield f"{name}: {target['task']}, {target['hidden']} training rows without one"
        yield from _build_target(target)
    if audit.findings:
        yield _build_findings(audit.findings)
    for title, lines in {**_list_places(audit.findings), "notes:": audit.notes}.items():
        if lines:
            yield format_list(title, lines, MAX_ROWS_PRINTED)


def _list_places(findings: "Sequence[Finding]") -> dict[str, list[str]]:
    """Return the rows of findings that have a reason of their own for each row, by title."""
    places: dict[str, list[str]] = {}
    unreadable = [place for finding in findings if finding.kind == "unreadable" for place in finding.where]
    if unreadable:
        places[f"{len(unreadable)} bad rows:"] = unreadable
    for finding in findings:
        if finding.kind in EXPLAINED:
            places[f"{finding.message}:"] = list(finding.where)
    return places


def _build_findings(findings: "Sequence[Finding]") -> Table:
    """Show what is wrong, in how many rows, where the first one is, and what to do."""
    rows = []
    for finding in findings:
        count = str(len(finding.where)) if finding.where else "-"
        first = finding.where[0].split(": ")[0] if finding.where else "-"
        rows.append([finding.level, finding.message, count, first, finding.remedy or "-"])
    styles: dict[tuple[int, int], Style] = {}
    for number, finding in enumerate(findings):
        if finding.level == "error":
            styles[number, 0] = "failed"
    return Table("", ["", "what", "rows", "first", "what to do"], rows, 2, texts=(3, 4), styles=styles)


def _build_modalities(modalities: Mapping[str, Facts]) -> tuple[Table, Table]:
    """Show where each modality comes from, and what is in it."""
    sources, contents = [], []
    for name, facts in modalities.items():
        remaining = [f"{fact} {_shorten(value)}" for fact, value in facts.items() if fact not in COLUMNS]
        sources.append([name, facts["kind"], _list_names(facts["columns"]), facts["told_by"], _format_missing(facts)])
        contents.append([name, "; ".join(remaining)])
    header = ["modality", "kind", "columns", "inferred from", "missing"]
    return Table("", header, sources, 4), Table("", ["modality", "contents"], contents, 2)


def _format_missing(facts: Facts) -> str:
    """Format the share of missing rows, by split where that differs."""
    by_split = {split: f"{share:.1%}" for split, share in facts["missing_by_split"].items()}
    if len(set(by_split.values())) < 2:
        return f"{facts['missing']:.1%}"
    return ", ".join(f"{share} of {split}" for split, share in by_split.items())


def _build_target(target: Facts) -> Iterator[Table | str]:
    if target["task"] == "regression":
        rows = [[split, _shorten(numbers)] for split, numbers in target["numbers"].items()]
        yield Table("", ["split", "numbers"], rows, 2)
        return
    counts = target["counts"]
    names = list(counts["train"])
    rows = []
    for name in names[:MAX_CLASSES_PRINTED]:
        rows.append([name, *(str(counts_of_split[name]) for counts_of_split in counts.values())])
    yield Table("", ["label" if target["task"] == "multilabel" else "class", *counts], rows)
    if len(names) > MAX_CLASSES_PRINTED:
        yield f"and {len(names) - MAX_CLASSES_PRINTED} more (--format json lists all)"


def _to_document(audit: "Audit") -> dict[str, object]:
    """Return everything as JSON values."""
    findings = []
    for finding in audit.findings:
        findings.append({**asdict(finding), "count": len(finding.where), "where": list(finding.where)})
    return {
        "rows": audit.rows,
        "modalities": audit.modalities,
        "targets": audit.targets,
        "findings": findings,
        "notes": audit.notes,
    }


def _iterate_records(audit: "Audit") -> Iterator[Record]:
    """Yield a record for each row of each finding."""
    for finding in audit.findings:
        for place in finding.where or [""]:
            yield {
                "level": finding.level,
                "kind": finding.kind,
                "what": finding.message,
                "where": place,
                "what_to_do": finding.remedy,
            }


def _list_names(names: Sequence[object]) -> str:
    more = len(names) - MAX_NAMES_PRINTED
    shown = ", ".join(map(str, names[:MAX_NAMES_PRINTED]))
    return f"{shown} and {more:,} more (--format json lists all)" if more > 0 else shown


def _shorten(value: object) -> str:
    """Format a range, counts or a list in one cell."""
    if isinstance(value, dict) and "median" in value:
        least, median, most = (f"{value[key]:.4g}" for key in ("least", "median", "most"))
        return least if least == most else f"{least} to {most} (median {median})"
    if isinstance(value, dict):
        return ", ".join(f"{name} ({count})" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return _list_names(value) or "none"
    return "-" if value is None else str(value)
