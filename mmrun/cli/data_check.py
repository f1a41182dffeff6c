"""mmrun data check: what a data set contains, and what is wrong with it."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mmrun.cli.answer import Answer, Command, Part, Record, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.cli.dataset_arguments import add_file, compose_node, find_override
from mmrun.cli.survey import describe_survey, survey_file, train_command
from mmrun.cli.table import Table
from mmrun.results.selection import flatten

if TYPE_CHECKING:
    from mmrun.data.checks.audit import Audit
    from mmrun.data.table import Table as DataTable

HELP = "Inspect a data set before training on it: splits, kinds, targets, leaks, and every row that cannot be used."

AUDITED_FILES = 1000  # decoded per modality, unless --all is given
MAX_ROWS_PRINTED = 20  # bad rows and warnings
MAX_CLASSES_PRINTED = 30

Facts = Mapping[str, Any]  # JSON values of an audit, by name
COLUMNS = ("kind", "missing", "looked_at", "columns", "told_by")  # facts of a modality with a column of their own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    add_file(parser)
    parser.add_argument(
        "--all", action="store_true", help=f"decode every file, not only {AUDITED_FILES} of each modality"
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the audit.

    Returns:
        The exit code: 2 if a run would reject the data set, else 0.
    """
    node = compose_node(args.file, args.overrides)
    if find_override(args.overrides, "target") is None:
        survey = survey_file(node)
        if node["target"] not in [column.name for column in survey.columns]:
            print_answer(describe_survey(survey, node), args.format)
            return 0
    audit = _audit(node, None if args.all else AUDITED_FILES)
    is_usable = all(audit.rows.values()) and (node["on_error"] == "skip" or not audit.bad)
    parts: list[Part] = list(_iterate_parts(audit))
    if is_usable:
        parts.append(Command("to train", train_command(args.file, args.overrides)))
    document = asdict(audit)
    print_answer(Answer(parts, document, list(_iterate_records(document))), args.format)
    return 0 if is_usable else 2


def _audit(node: Facts, num_files: int | None) -> "Audit":
    """Audit the data set, and add how the modalities were inferred and how the default encoders would read them."""
    from mmrun.config import LABELS
    from mmrun.data.checks.audit import audit
    from mmrun.data.file_digests import NoDigests
    from mmrun.instantiate import instantiate

    module = node["_target_"].rpartition(".")[0]
    inferred = instantiate({**node, "_target_": f"{module}.infer_modalities"}, "dataset", drop=LABELS)
    table = instantiate({**node, "on_error": "skip"}, "dataset", {"digests": NoDigests()}, drop=LABELS)
    result = audit(table, num_files)
    for name, modality in inferred.items():
        result.modalities[name]["columns"] = modality.columns
        result.modalities[name]["told_by"] = modality.reason
    result.notes.extend(_describe_preprocessing(table, result.warnings))
    return result


def _describe_preprocessing(table: "DataTable", warnings: list[str]) -> list[str]:
    """Describe what the default encoders of the modalities would read: lengths, and what is cut or changed.

    What a run with them would reject is added to the warnings.
    """
    from mmrun.compose import DEFAULT_ENCODER, load_option
    from mmrun.data.preprocess.notes import describe_preprocessors
    from mmrun.errors import DataError
    from mmrun.instantiate import instantiate

    preprocessors = {}
    for name, column in table.columns.items():
        if column.kind == "tabular":  # its notes are warnings of the audit
            continue
        encoder = DEFAULT_ENCODER[column.kind]
        node: Any = load_option(f"encoder/{column.kind}", encoder)["preprocess"]
        preprocessor = instantiate(node, f"encoder.{name}.preprocess")
        try:
            preprocessor.fit(column, table.rows("train"))
        except DataError as error:
            warnings.append(f"{name}: {error}")
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
    lists = {"notes:": audit.notes, "warnings:": audit.warnings, f"{len(audit.bad)} bad rows:": audit.bad}
    for title, lines in lists.items():
        if lines:
            yield "\n".join([title, *_indent(lines)])


def _build_modalities(modalities: Mapping[str, Facts]) -> tuple[Table, Table]:
    """Show where each modality comes from, and what is in it."""
    sources, contents = [], []
    for name, facts in modalities.items():
        remaining = [f"{fact} {_shorten(value)}" for fact, value in facts.items() if fact not in COLUMNS]
        sources.append([name, facts["kind"], ", ".join(facts["columns"]), facts["told_by"], f"{facts['missing']:.1%}"])
        contents.append([name, "; ".join(remaining)])
    header = ["modality", "kind", "columns", "inferred from", "missing"]
    return Table("", header, sources, 4), Table("", ["modality", "contents"], contents, 2)


def _indent(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MAX_ROWS_PRINTED
    shown = [f"  {line}" for line in lines[:MAX_ROWS_PRINTED]]
    return [*shown, f"  and {more} more (--format json lists all)"] if more > 0 else shown


def _build_target(target: Facts) -> Iterator[Table | str]:
    if target["task"] == "regression":
        rows = [[split, _shorten(numbers)] for split, numbers in target["numbers"].items()]
        yield Table("", ["split", "numbers"], rows, 2)
        return
    counts = target["counts"]
    names = list(counts["train"])
    rows = []
    for name in names[:MAX_CLASSES_PRINTED]:
        rows.append([name, *(str(of_split[name]) for of_split in counts.values())])
    yield Table("", ["label" if target["task"] == "multilabel" else "class", *counts], rows)
    if len(names) > MAX_CLASSES_PRINTED:
        yield f"and {len(names) - MAX_CLASSES_PRINTED} more (--format json lists all)"


def _iterate_records(document: Facts) -> Iterator[Record]:
    """Yield a record for each value, and for each line of a list."""
    for key, value in flatten(document):
        if key in ("notes", "warnings", "bad"):
            yield from ({"key": key, "value": line} for line in value)  # type: ignore[attr-defined]
        else:
            yield {"key": key, "value": value}


def _shorten(value: object) -> str:
    """Format a range, counts or a list in one cell."""
    if isinstance(value, dict) and "median" in value:
        least, median, most = (f"{value[key]:.4g}" for key in ("least", "median", "most"))
        return least if least == most else f"{least} to {most} (median {median})"
    if isinstance(value, dict):
        return ", ".join(f"{name} ({count})" for name, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)
