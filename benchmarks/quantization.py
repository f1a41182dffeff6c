"""What 8 bits cost and gain: metric, labels, file size and latency of a run, beside its ONNX model in fp32.

scripts/bench quantization RUN ... [--mode dynamic] [--threads 1]

The figures of docs/delivery.md are those of these two runs:

mmrun train experiment=avdigits budget.epochs=8
mmrun train dataset=digits encoder.image=resnet18 encoder.image.pretrained=false encoder.image.preprocess.size=32 \
    encoder.text=transformer budget.epochs=8 optimizer.lr=1e-3 trainer.batch_size=40
"""

import argparse
import tempfile
from pathlib import Path

import torch

from mmrun.cli.terminal import Terminal
from mmrun.deploy.export import ExportRequest, export
from mmrun.deploy.predictor import open_predictor
from mmrun.deploy.quantized_export import FP32, INT8, QuantizationRecord, QuantizationRequest
from mmrun.models.compress.int8 import Quantization
from mmrun.results.index import resolve

MAX_DROP = 1.0  # nothing is refused; the figures are printed
TOLERANCE = 1e-4  # of the model in fp32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--mode", choices=["static", "dynamic"], default="static")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for run in args.runs:
        predictor = open_predictor(resolve(run), Terminal(live=False), on_cpu=True)
        quantization = QuantizationRequest(Quantization(args.mode), None, MAX_DROP)
        with tempfile.TemporaryDirectory() as folder:
            request = ExportRequest("onnx", None, TOLERANCE, quantization)
            exported = export(predictor, Path(folder) / "model", request)
        agreement = exported.agreement
        labels = f"{agreement.num_equal} of {agreement.num_labels} labels equal"
        print(f"{predictor.name}: fp32 differs by {agreement.difference:.1e}, {labels}")
        assert exported.quantization is not None
        print_figures(exported.quantization)


def print_figures(record: QuantizationRecord) -> None:
    print(
        f"int8: {record['changed_labels']} of {record['labels']} labels change ({record['num_rows']} {record['rows']})"
    )
    for task, change in record["tasks"].items():
        interval = "" if change["low"] is None else f" ({change['low']:+.4f} to {change['high']:+.4f})"
        print(f"{task}: {change['metric']} {change['before']:.4f} -> {change['after']:.4f}{interval}")
    times, sizes = record["milliseconds"], record["bytes"]
    print(f"file: {sizes[INT8] / sizes[FP32]:.2f} of fp32 ({sizes[INT8]:,} bytes)")
    for name, time in times.items():
        ratio = time["p50"] / times["PyTorch"]["p50"]
        print(f"{name}: p50 {time['p50']:.2f} ms, p99 {time['p99']:.2f} ms a row, {ratio:.2f} of eager PyTorch")


if __name__ == "__main__":
    main()
