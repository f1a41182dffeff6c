"""How much an exported run differs from the run, and how long one row takes, in PyTorch and in onnxruntime.

scripts/bench export RUN [--threads 1]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from mmrun.cli.terminal import Terminal
from mmrun.deploy.agreement import choose_rows, gather_inputs
from mmrun.deploy.graph import Graph, save_onnx, trace
from mmrun.deploy.latency import measure_latencies
from mmrun.deploy.predictor import Predictor, open_predictor
from mmrun.deploy.run_models import open_session
from mmrun.results.index import resolve
from mmrun.tasks.classification import Classification

NUM_BLOCKS = 50


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
    example = gather_inputs(columns, torch.arange(3))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_onnx(trace(graph, example), graph, example, path)
        session = open_session(path, args.threads)
    compare(predictor, columns, session, len(checked.rows.ids), checked.source)
    measure_latency(graph, session, gather_inputs(columns, torch.arange(1)))


def compare(predictor: Predictor, columns, session, num_rows: int, source: str) -> None:
    """Print how many labels are equal, and the largest difference of the scores, over all rows."""
    expected, _ = predictor.compute(columns, np.arange(num_rows))
    arrays = {name: tensor.numpy() for name, tensor in gather_inputs(columns, torch.arange(num_rows)).items()}
    for name, task in predictor.tasks.items():
        [scores] = session.run([f"scores.{name}"], arrays)
        difference = np.abs(scores - expected[name]).max()
        print(f"{name}: {num_rows} {source}, largest difference of the scores {difference:.1e}")
        if isinstance(task, Classification):
            num_equal = (scores.argmax(1) == expected[name].argmax(1)).sum()
            print(f"{name}: {num_equal} of {num_rows} labels equal")


def measure_latency(graph: Graph, session, inputs) -> None:
    """Print the median time of one row; blocks of calls alternate, so that both see the same machine."""
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}

    def run_eager():
        with torch.no_grad():
            graph(inputs)

    calls = {"PyTorch, eager": run_eager, "onnxruntime": lambda: session.run(None, arrays)}
    for name, latency in measure_latencies(calls, NUM_BLOCKS).items():
        print(f"{name}: p50 {1000 * latency.p50:.2f} ms, p99 {1000 * latency.p99:.2f} ms a row")


if __name__ == "__main__":
    main()
