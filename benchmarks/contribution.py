"""Shapley values and synergy gap against the truth, on rows whose redundant, unique and synergetic shares are known.

    scripts/bench contribution [--strategies modality_dropout,scratch] [--fusion concat] [--rows N] [--epochs 20] [WORD]

For each mix: what is true, what `mmrun eval` finds under each fill policy, and the largest error over the Shapley
values, the synergy gap and the figures of single subsets. The row called uneven has a modality that tells twice as much
as another, and one that tells nothing.
"""

import argparse
import csv
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from mmrun import compose
from mmrun.data.sources.synthetic import expected_accuracy, synthetic
from mmrun.evaluation import contribution, evaluate
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback

MIXES = {  # redundancy, uniqueness, synergy, modalities
    "redundancy": (1.0, 0.0, 0.0, 2),
    "uniqueness": (0.0, 1.0, 0.0, 2),
    "synergy": (0.0, 0.0, 1.0, 2),
    "mixed": (0.25, 0.5, 0.25, 2),
    "three": (0.25, 0.5, 0.25, 3),
    "uneven": (0.2, 0.6, 0.2, 3),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default="modality_dropout,scratch")
    parser.add_argument("--fusion", default="concat")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("words", nargs="*", help="further words of `mmrun train`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    worst: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for strategy, (name, mix) in itertools.product(args.strategies.split(","), MIXES.items()):
            words = [f"strategy={strategy}", f"fusion={args.fusion}", f"budget.epochs={args.epochs}"]
            words += [f"outputs={scratch}", "trainer.progress=false", *args.words]
            session = trained([*words, *dataset(name, mix, args.rows, Path(scratch))])
            found = evaluate(session)
            for fill, error in report(f"{strategy} {name}", truth(name, mix), found).items():
                worst[strategy, fill] = max(error, worst.get((strategy, fill), 0.0))
    for (strategy, fill), error in worst.items():
        print(f"largest error of a Shapley value or synergy gap: {error:.3f}  ({strategy}, {fill})")
    return 0


def trained(words):
    folder = run(compose.load(words), NullCallback())
    return reopen(folder, NullCallback())


def dataset(name, mix, rows, folder) -> list[str]:
    redundancy, uniqueness, synergy, modalities = mix
    if name == "uneven":
        return uneven(mix, rows, folder)
    words = [f"dataset.redundancy={redundancy}", f"dataset.uniqueness={uniqueness}", f"dataset.synergy={synergy}"]
    words += [f"dataset.num_modalities={modalities}", f"dataset.num_rows={rows}", "dataset.num_features=4"]
    return ["dataset=synthetic", *words, *(["+dataset.kinds.c=tabular"] if modalities == 3 else [])]


def uneven(mix, rows, folder) -> list[str]:
    """Write the modalities b and c as one, `pair`, and put beside them one of chance."""
    redundancy, uniqueness, synergy, modalities = mix
    table = synthetic(rows, redundancy, uniqueness, synergy, modalities, num_features=4)
    chance = np.random.default_rng(0).standard_normal((rows, 4))
    columns = {f"{m}_{key}": [r[key] for r in c.values] for m, c in table.columns.items() for key in c.values[0]}
    columns |= {f"chance_{i}": column.tolist() for i, column in enumerate(chance.T)}
    columns |= {"split": table.split.tolist(), "label": table.targets["label"].values.tolist()}
    file = folder / f"uneven-{rows}.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    read = {"single": "a", "pair": "bc", "chance": "h"}
    groups = {m: [key for key in columns if key[0] in first and key != "split"] for m, first in read.items()}
    groups["chance"] = [key for key in columns if key.startswith("chance_")]
    groups["pair"] = [key for key in columns if key.startswith(("b_", "c_"))]
    named = ",".join(f"{m}:[{','.join(keys)}]" for m, keys in groups.items())
    kinds = ",".join(f"{m}:tabular" for m in groups)
    return ["dataset=manifest", f"dataset.path={file}", f"dataset.columns={{{named}}}", f"dataset.kinds={{{kinds}}}"]


def truth(name, mix) -> dict[tuple[str, ...], float]:
    """Give the best accuracy of every subset, the empty one too."""
    redundancy, uniqueness, synergy, modalities = mix
    told = (
        {"single": {"a"}, "pair": {"b", "c"}, "chance": set()}
        if name == "uneven"
        else {m: {m} for m in "abc"[:modalities]}
    )
    subsets = [(), *contribution.enumerate_subsets(list(told))]
    return {
        subset: expected_accuracy(set().union(*(told[m] for m in subset)), redundancy, uniqueness, synergy, modalities)
        for subset in subsets
    }


def report(title, true, found) -> dict[str, float]:
    """Print truth and measurement, and give the largest error by fill policy."""
    modalities = found["modalities"]
    worth = contribution.shapley_values(true, modalities)
    gap = true[tuple(modalities)] - max(true[(m,)] for m in modalities)
    print(f"{title:28}{'truth':10}gap {gap:+.3f}  {line(worth)}")
    errors = {}
    for fill, listed in found["missing"].items():
        values = {tuple(one["present"]): one["metrics"]["accuracy"] for one in listed}
        own = found["shapley"]["accuracy"][fill]
        own_gap = values[tuple(modalities)] - max(values[(m,)] for m in modalities)
        errors[fill] = max(abs(own_gap - gap), *(abs(own[m] - worth[m]) for m in modalities))
        subset = max(abs(values[s] - true[s]) for s in values)
        print(f"{'':28}{fill:10}gap {own_gap:+.3f}  {line(own)}  error {errors[fill]:.3f}, of a subset {subset:.3f}")
    return errors


def line(worth) -> str:
    return "  ".join(f"{m} {value:+.3f}" for m, value in worth.items())


if __name__ == "__main__":
    sys.exit(main())
