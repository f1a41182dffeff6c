"""mmrun's defaults on four tables of scikit-learn against a linear model of it, on the same rows.

    scripts/bench tables [--seeds 5] [--outputs FOLDER] [--sets wine diabetes] [OVERRIDE ...]

Each data set becomes a CSV file with a column for the split: 80 % train, 10 % val and 10 % test, stratified by class,
another split for each seed. mmrun gets no option but the file and the target. The linear model is logistic regression
or ridge regression with scikit-learn's defaults, on standardised columns, fitted on the same training rows. Both are
measured on the same test rows: accuracy, or R2. Printed are the means over the seeds.
"""

import argparse
import csv
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmrun import api
from mmrun.data.table import SPLITS

LOADERS = {
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "diabetes": load_diabetes,
    "digits": load_digits,
}
MARGINS = {"accuracy": 0.02, "r2": 0.05}  # by which mmrun may be worse


class DataSet(NamedTuple):
    """One data set: numbers [N, F], targets [N], and the metric that is compared."""

    columns: list[str]
    numbers: np.ndarray
    targets: np.ndarray
    metric: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--outputs", type=Path, help="keep the runs there; finished ones are found again")
    parser.add_argument("--sets", nargs="+", choices=LOADERS, default=list(LOADERS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="of every run of mmrun")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with TemporaryDirectory() as scratch:
        folder = args.outputs or Path(scratch)
        is_good = [compare(name, folder, range(args.seeds), args.overrides) for name in args.sets]
    return 0 if all(is_good) else 1


def compare(name: str, folder: Path, seeds: range, overrides: list[str]) -> bool:
    """Print both means of a data set; return whether mmrun's is within the margin."""
    data = load(name)
    ours, theirs = [], []
    for seed in seeds:
        split = draw_split(data, seed)
        file = write_csv(folder / f"{name}-{seed}.csv", data, split)
        run = api.train(
            *("dataset=manifest", f"dataset.path={file}", "dataset.target=target", f"seed={seed}"),
            *(f"outputs={folder}/{name}", f"cache={folder}/cache", "trainer.device=cpu", *overrides),
        )
        ours.append(run.metrics["metrics"]["test"][data.metric] or 0.0)
        theirs.append(score_linear_model(data, split))
    difference = np.mean(ours) - np.mean(theirs)
    is_good = bool(difference >= -MARGINS[data.metric])
    print(
        f"{name:14} {data.metric:8} mmrun {np.mean(ours):.3f} ± {np.std(ours):.3f}   linear {np.mean(theirs):.3f} ± "
        f"{np.std(theirs):.3f}   {difference:+.3f} ({'within' if is_good else 'NOT within'} {MARGINS[data.metric]})",
        flush=True,
    )
    return is_good


def load(name: str) -> DataSet:
    """Return a data set of scikit-learn."""
    loaded = LOADERS[name]()
    columns = [str(column).replace(" ", "_") for column in loaded.feature_names]
    return DataSet(columns, loaded.data, loaded.target, "r2" if name == "diabetes" else "accuracy")


def draw_split(data: DataSet, seed: int) -> np.ndarray:  # [N] str
    """Draw which rows are for training, validation and test."""
    rows = np.arange(len(data.targets))
    classes = data.targets if data.metric == "accuracy" else None
    train, rest = train_test_split(rows, test_size=0.2, stratify=classes, random_state=seed)
    val, test = train_test_split(
        rest, test_size=0.5, stratify=None if classes is None else classes[rest], random_state=seed
    )
    split = np.empty(len(rows), dtype="<U5")
    for part, part_rows in zip(SPLITS, (train, val, test), strict=True):
        split[part_rows] = part
    return split


def write_csv(file: Path, data: DataSet, split: np.ndarray) -> Path:
    """Write a data set with its split."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*data.columns, "target", "split"])
        for numbers, target, part in zip(data.numbers.tolist(), data.targets.tolist(), split, strict=True):
            writer.writerow([*numbers, target, part])
    return file


def score_linear_model(data: DataSet, split: np.ndarray) -> float:
    """Fit a linear model on the training rows, and return its metric on the test rows."""
    linear = LogisticRegression(max_iter=1000) if data.metric == "accuracy" else Ridge()
    model = make_pipeline(StandardScaler(), linear)
    is_train, is_test = split == "train", split == "test"
    model.fit(data.numbers[is_train], data.targets[is_train])
    return float(model.score(data.numbers[is_test], data.targets[is_test]))


if __name__ == "__main__":
    sys.exit(main())
