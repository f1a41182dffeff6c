"""What structured pruning costs and saves: parameters, latency and accuracy of finished runs, before and after.

scripts/bench compression RUN ... [--share 0.5] [--epochs 10] [--threads 1]

Each run is pruned by filters (and heads, where it has some), chosen by their effect on the loss, and fine-tuned.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from mmrun.cli.terminal import Terminal
from mmrun.deploy.compress.pipeline import Plan, compress
from mmrun.deploy.compress.source import open_source
from mmrun.deploy.compress.steps import Step
from mmrun.errors import ConfigError
from mmrun.results.folder import RunFolder
from mmrun.results.index import find_primary_metric, resolve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.runs:
        prune(resolve(name), args.share, args.epochs)


def prune(run: RunFolder, share: float, epochs: float) -> None:
    """Prune a run, and print what became of it."""
    filters, heads = Step("prune_filters", share), Step("prune_heads", share)
    with tempfile.TemporaryDirectory() as scratch, Terminal(live=False) as terminal:
        source = open_source(run, terminal)
        try:
            compressed = compress(source, Plan((filters, heads), "taylor", epochs), Path(scratch) / "run", terminal)
        except ConfigError:  # it has no attention
            compressed = compress(source, Plan((filters,), "taylor", epochs), Path(scratch) / "run", terminal)
        metrics = compressed.read_metrics()
    before, after = metrics["inference"]["original"], metrics["inference"]["compressed"]
    metric, value = find_primary_metric(run.read_metrics())
    print(f"{run.name}: test {metric} {value:.4f} -> {metrics['metrics']['test'][metric]:.4f}")
    for key in ("parameters", "file_size", "p50", "p99", "memory"):
        print(f"  {key}: {after[key] / before[key]:.2f}x")


if __name__ == "__main__":
    main()
