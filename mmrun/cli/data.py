"""`mmrun data check FILE`: what a data set holds, and what is wrong with it."""

import argparse
import json
from typing import Any

HELP = (
    "Look at a data set before training on it: rows, splits, kinds, targets, leaks, and every row that cannot be used."
)

MOST_LISTED = 20  # bad rows that are printed; --format json has all
MOST_CLASSES = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=["check"])
    parser.add_argument("file", help="a CSV, JSON Lines or Parquet file, or a folder that holds manifest.csv")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="KEY=VALUE",
        help="as after `dataset.`: target=diagnosis group=patient columns.image=photo",
    )
    parser.add_argument("--all", action="store_true", help="decode every file, not only 1000 of each modality")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the audit; 2 where a run would refuse the file."""
    from dataclasses import asdict

    from mmrun.config import LABELS
    from mmrun.data.audit import audit
    from mmrun.instantiate import instantiate

    node = _node(args.file, args.words)
    leaves_out = node["on_error"] == "skip"
    module = node["_target_"].rpartition(".")[0]
    found = instantiate({**node, "_target_": f"{module}.infer_modalities"}, "dataset", drop=LABELS)
    table = instantiate({**node, "on_error": "skip"}, "dataset", drop=LABELS)
    audited = audit(table, None if args.all else 1000)
    for name, modality in found.items():
        audited.modalities[name]["columns"] = modality.columns
        audited.modalities[name]["told_by"] = modality.reason
    if args.format == "json":
        print(json.dumps(asdict(audited), indent=1))
    else:
        _print(asdict(audited))
    usable = all(audited.rows.values()) and (leaves_out or not audited.bad)
    return 0 if usable else 2


def _node(file: str, words: list[str]) -> dict[str, Any]:
    """Return the manifest's node with the user's words in it."""
    from omegaconf import OmegaConf

    from mmrun.compose import load_option
    from mmrun.errors import ConfigError

    for word in words:
        if "=" not in word:
            raise ConfigError(f"'{word}' is no KEY=VALUE; write target=diagnosis, say")
    said = OmegaConf.from_dotlist([word.removeprefix("dataset.") for word in words])
    node: Any = OmegaConf.to_container(OmegaConf.merge(load_option("dataset", "manifest"), said))
    return {**node, "path": file}


def _print(audited: dict[str, Any]) -> None:
    from mmrun.cli.table import print_table

    rows = audited["rows"]
    print(f"{sum(rows.values())} rows: {', '.join(f'{count} {split}' for split, count in rows.items())}\n")
    lines = []
    for name, seen in audited["modalities"].items():
        told = {"kind", "missing", "looked_at", "columns", "told_by"}
        facts = "; ".join(f"{word} {_short(value)}" for word, value in seen.items() if word not in told)
        lines.append([name, seen["kind"], seen["told_by"], ", ".join(seen["columns"]), facts, f"{seen['missing']:.1%}"])
    print_table(["modality", "kind", "told by", "columns", "seen", "missing"], lines, left=5)
    for name, target in audited["targets"].items():
        print(f"\n{name}: {target['task']}, {target['hidden']} training rows without one")
        _print_target(target)
    for title in ("warnings", "bad"):
        said = audited[title]
        if said:
            print("\n" + (f"{len(said)} bad rows:" if title == "bad" else "warnings:"))
            print("\n".join(f"  {line}" for line in said[:MOST_LISTED]))
        if len(said) > MOST_LISTED:
            print(f"  and {len(said) - MOST_LISTED} more (--format json lists all)")


def _print_target(target: dict[str, Any]) -> None:
    from mmrun.cli.table import print_table

    if target["task"] == "regression":
        print_table(["split", "numbers"], [[split, _short(seen)] for split, seen in target["numbers"].items()], left=2)
        return
    counts = target["counts"]
    names = list(counts["train"])
    lines = [[name, *(str(counts[split][name]) for split in counts)] for name in names[:MOST_CLASSES]]
    print_table(["label" if target["task"] == "multilabel" else "class", *counts], lines)
    if len(names) > MOST_CLASSES:
        print(f"and {len(names) - MOST_CLASSES} more (--format json lists all)")


def _short(value: Any) -> str:
    """Write a range, counts or a list in few letters."""
    if isinstance(value, dict) and "median" in value:
        least, median, most = (f"{value[key]:.4g}" for key in ("least", "median", "most"))
        return least if least == most else f"{least} to {most} (median {median})"
    if isinstance(value, dict):
        return ", ".join(f"{word} ({count})" for word, count in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)
