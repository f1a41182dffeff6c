"""mmrun data check FILE: what a data set contains, and what is wrong with it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrun.cli.output import echo
from mmrun.cli.survey import print_survey, survey_file, train_command

if TYPE_CHECKING:
    from mmrun.data.audit import Audit
    from mmrun.data.table import Table

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
    parser.add_argument("action", choices=["check"])
    parser.add_argument("file", help="a CSV, JSON Lines or Parquet file, or a folder with a manifest.csv")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="overrides of `dataset`: target=diagnosis group=patient columns.image=photo",
    )
    parser.add_argument(
        "--all", action="store_true", help=f"decode every file, not only {AUDITED_FILES} of each modality"
    )
    parser.add_argument("--format", choices=["table", "json"], default="table", help="default: table")


def run(args: argparse.Namespace) -> int:
    """Print the audit.

    Returns:
        The exit code: 2 if a run would reject the data set, else 0.
    """
    from dataclasses import asdict

    node = _compose_node(args.file, args.overrides)
    if not any(override.removeprefix("dataset.").startswith("target=") for override in args.overrides):
        survey = survey_file(node)
        if node["target"] not in [column.name for column in survey.columns]:
            print_survey(survey, node, args.format)
            return 0
    audit = _audit(node, None if args.all else AUDITED_FILES)
    if args.format == "json":
        echo(json.dumps(asdict(audit), indent=1))
    else:
        _print_audit(audit)
    is_usable = all(audit.rows.values()) and (node["on_error"] == "skip" or not audit.bad)
    if is_usable and args.format == "table":
        echo(f"\nto train: {train_command(args.file, args.overrides)}")
    return 0 if is_usable else 2


def _compose_node(file: str, overrides: Sequence[str]) -> Facts:
    """Return the node of dataset=manifest with the user's overrides."""
    from mmrun.compose import load_option
    from mmrun.errors import ConfigError
    from mmrun.quoting import quote_values

    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"'{override}' is not of the form KEY=VALUE; write for example target=diagnosis")
    words = quote_values([f"dataset.{override.removeprefix('dataset.')}" for override in overrides])
    return {**load_option("dataset", "manifest", [f"++{word}" for word in words]), "path": file}


def _audit(node: Facts, num_files: int | None) -> "Audit":
    """Audit the data set, and add how the modalities were inferred and how the default encoders would read them."""
    from mmrun.config import LABELS
    from mmrun.data.audit import audit
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


def _describe_preprocessing(table: "Table", warnings: list[str]) -> list[str]:
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


def _print_audit(audit: "Audit") -> None:
    rows = ", ".join(f"{count} {split}" for split, count in audit.rows.items())
    echo(f"{sum(audit.rows.values())} rows: {rows}\n")
    _print_modalities(audit.modalities)
    for name, target in audit.targets.items():
        echo(f"\n{name}: {target['task']}, {target['hidden']} training rows without one")
        _print_target(target)
    _print_lines("notes:", audit.notes)
    _print_lines("warnings:", audit.warnings)
    _print_lines(f"{len(audit.bad)} bad rows:", audit.bad)


def _print_modalities(modalities: Mapping[str, Facts]) -> None:
    from mmrun.cli.table import Table, print_table

    rows = []
    for name, facts in modalities.items():
        remaining = [f"{fact} {_shorten(value)}" for fact, value in facts.items() if fact not in COLUMNS]
        columns = ", ".join(facts["columns"])
        rows.append([name, facts["kind"], facts["told_by"], columns, "; ".join(remaining), f"{facts['missing']:.1%}"])
    print_table(Table("", ["modality", "kind", "inferred from", "columns", "contents", "missing"], rows, 5))


def _print_lines(title: str, lines: Sequence[str]) -> None:
    if lines:
        echo(f"\n{title}")
    for line in lines[:MAX_ROWS_PRINTED]:
        echo(f"  {line}")
    if len(lines) > MAX_ROWS_PRINTED:
        echo(f"  and {len(lines) - MAX_ROWS_PRINTED} more (--format json lists all)")


def _print_target(target: Facts) -> None:
    from mmrun.cli.table import Table, print_table

    if target["task"] == "regression":
        rows = [[split, _shorten(numbers)] for split, numbers in target["numbers"].items()]
        print_table(Table("", ["split", "numbers"], rows, 2))
        return
    counts = target["counts"]
    names = list(counts["train"])
    rows = []
    for name in names[:MAX_CLASSES_PRINTED]:
        rows.append([name, *(str(of_split[name]) for of_split in counts.values())])
    print_table(Table("", ["label" if target["task"] == "multilabel" else "class", *counts], rows))
    if len(names) > MAX_CLASSES_PRINTED:
        echo(f"and {len(names) - MAX_CLASSES_PRINTED} more (--format json lists all)")


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
