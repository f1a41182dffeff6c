"""Names of splits as people write them: holdout, dev, eval, 0 and 1."""

from collections.abc import Iterable, Mapping

from mmrun.data.names import normalize_name

NAMES = {
    "train": ("train", "training", "trn", "tr", "fit"),
    "val": ("val", "valid", "validation", "validate", "dev", "develop", "development", "tune", "tuning"),
    "test": ("test", "testing", "tst", "te", "holdout", "hold-out", "hold_out", "heldout", "held-out", "held_out"),
}
PLAIN = {"train", "training", "val", "valid", "validation", "test", "testing"}  # which need not be mentioned
EVALUATION = ("eval", "evaluation", "evaluate")  # the val split where another one is for testing, else the test split
NUMBERED = ({"0": "train", "1": "test"}, {"0": "train", "1": "val", "2": "test"})
FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
OTHERS = {"train": "test", "val": "train", "test": "train"}  # the split of rows that are not in one


def map_split_names(column: str, cells: Iterable[object]) -> dict[str, str]:
    """Return the split that each name in a column means.

    Args:
        column: its name; in "is_test", 1 is the test split.
        cells: different ones, not None.

    Returns:
        One of SPLITS by name, see `normalize_split`; names that mean none are left out.
    """
    names = {normalize_split(cell) for cell in cells}
    flagged = next((split for split in NAMES if split in column.lower().replace("-", "_").split("_")), None)
    if flagged is not None and names <= FLAGS.keys():
        return {name: flagged if FLAGS[name] else OTHERS[flagged] for name in names}
    for numbered in NUMBERED:
        if names <= numbered.keys() and len(names) > 1:
            return {name: numbered[name] for name in names}
    mapping = {}
    for split, spellings in NAMES.items():
        mapping.update(dict.fromkeys(names.intersection(spellings), split))
    evaluation = "val" if "test" in mapping.values() else "test"
    mapping.update(dict.fromkeys(names.intersection(EVALUATION), evaluation))
    return mapping


def normalize_split(cell: object) -> str:
    """Return the name of a split in lower case.

    Args:
        cell: text, number or bool.
    """
    return normalize_name(cell).lower()


def describe_split_names(column: str, mapping: Mapping[str, str]) -> list[str]:
    """Return a line about names that are not those of splits; none if there is none.

    Args:
        column: its name.
        mapping: split by name.
    """
    read = [f"'{name}' as {split}" for name, split in sorted(mapping.items()) if name not in PLAIN]
    return [f"column '{column}': read {', '.join(read)}"] if read else []
