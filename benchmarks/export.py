"""How much an exported run differs from the run, how large its file is, and how long one row takes beside PyTorch.

scripts/bench export RUN [--threads 1]

Formats whose libraries are not installed are left out.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from mmrun.cli.terminal import Terminal
from mmrun.deploy.agreement import choose_rows, gather_inputs
from mmrun.deploy.formats import FORMATS, list_missing
from mmrun.deploy.graph import Graph
from mmrun.deploy.latency import measure_latencies
from mmrun.deploy.predictor import Predictor, open_predictor
from mmrun.deploy.run_models import RunModel, open_litert, open_onnx
from mmrun.results.formatting import format_size
from mmrun.results.index import resolve
from mmrun.tasks.classification import Classification

NUM_BLOCKS = 50
OPENERS = {"onnx": open_onnx, "litert": open_litert}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    predictor = open_predictor(resolve(args.run), Terminal(live=False), on_cpu=True)
    checked = choose_rows(predictor, None, max_rows=None)
    columns = predictor.decode(checked.rows, np.arange(len(checked.rows.ids)))
    graph = Graph(predictor).eval()
    models = export(graph, gather_inputs(columns, torch.arange(3)), args.threads)
    for name, run_model in models.items():
        compare(predictor, columns, name, run_model, len(checked.rows.ids), checked.source)
    measure_latency(graph, models, gather_inputs(columns, torch.arange(1)))


def export(graph: Graph, inputs, threads: int) -> dict[str, RunModel]:
    """Export in each format, print the sizes of the files, and open them."""
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, open_model in OPENERS.items():
            if not list_missing(name):
                path = Path(folder) / FORMATS[name].file
                FORMATS[name].save(graph, inputs, path)
                print(f"{name}: {format_size(path.stat().st_size)}")
                models[name] = open_model(path, threads)
    return models


def compare(predictor: Predictor, columns, name: str, run_model: RunModel, num_rows: int, source: str) -> None:
    """Print how many labels are equal, and the largest difference of the scores, over all rows."""
    expected, _ = predictor.compute(columns, np.arange(num_rows))
    inputs = gather_inputs(columns, torch.arange(num_rows))
    outputs = run_model({part: tensor.numpy() for part, tensor in inputs.items()})
    for target, task in predictor.tasks.items():
        scores = outputs[f"scores.{target}"]
        difference = np.abs(scores - expected[target]).max()
        print(f"{name}, {target}: {num_rows} {source}, largest difference of the scores {difference:.1e}")
        if isinstance(task, Classification):
            num_equal = (scores.argmax(1) == expected[target].argmax(1)).sum()
            print(f"{name}, {target}: {num_equal} of {num_rows} labels equal")


def measure_latency(graph: Graph, models: dict[str, RunModel], inputs) -> None:
    """Print the median time of one row; blocks of calls alternate, so that all see the same machine."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}

    def run_eager():
        with torch.no_grad():
            graph(inputs)

    calls = {"PyTorch, eager": run_eager}
    for name, run_model in models.items():
        calls[name] = lambda run_model=run_model: run_model(arrays)
    for name, latency in measure_latencies(calls, NUM_BLOCKS).items():
        print(f"{name}: p50 {1000 * latency.p50:.2f} ms, p99 {1000 * latency.p99:.2f} ms a row")


if __name__ == "__main__":
    main()
