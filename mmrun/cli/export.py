"""mmrun export: a finished run as a model for other software."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import print_parts
from mmrun.cli.arguments import add_run, parse_number
from mmrun.cli.output import echo
from mmrun.cli.quantization import DEFAULT_MAX_DROP, add_quantization, build_quantization
from mmrun.cli.table import inform, print_note
from mmrun.errors import ConfigError
from mmrun.results.formatting import format_interval, format_number, format_signed, format_size, pluralize
from mmrun.results.index import resolve
from mmrun.results.table import Table
from mmrun.values import Range

if TYPE_CHECKING:
    from mmrun.deploy.export import Exported
    from mmrun.deploy.quantized_export import QuantizationRecord, QuantizationRequest

HELP = (
    "Write the model of a finished run as ONNX, torch.export or LiteRT, with its preprocessing and a script that "
    "predicts without mmrun, and compare it with the run at once."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_run(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="a new folder (default: NAME-FORMAT)")
    parser.add_argument("--format", choices=["onnx", "torch", "litert"], default="onnx", help="default: onnx")
    parser.add_argument(
        "--rows",
        type=Path,
        metavar="FILE",
        help="compare on the rows of this file (default: the test rows; without the data, rows of noise)",
    )
    parser.add_argument(
        "--tolerance",
        type=parse_number(float, Range(above=0)),
        metavar="X",
        help="refuse a model whose outputs differ by more from those of the run (default: 1e-4; for a run in 8 bits "
        "0.05, where rounding makes a step of a last digit)",
    )
    _add_quantization(parser)


def _add_quantization(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("8 bits (with --format onnx)")
    add_quantization(group)
    group.add_argument("--calibrate", type=Path, metavar="FILE", help="read ranges from the rows of this file instead")
    group.add_argument(
        "--max-drop",
        type=parse_number(float, Range(at_least=0)),
        metavar="X",
        help=f"refuse a model whose primary metric drops by more (default: {DEFAULT_MAX_DROP:g})",
    )


def run(args: argparse.Namespace) -> int:
    """Export, compare, and print the folder.

    Returns:
        The exit code, 0.
    """
    quantization = _build_request(args)

    folder = resolve(args.run)

    from mmrun.cli.terminal import Terminal
    from mmrun.deploy.export import ExportRequest, export
    from mmrun.deploy.formats import check_libraries
    from mmrun.deploy.predictor import open_predictor

    check_libraries(args.format)
    if quantization is not None and folder.is_int8:
        raise ConfigError(f"--quantize int8: {folder.name} computes in 8 bits already; leave it out")
    name = args.format if args.quantize is None else f"{args.format}-{args.quantize}"
    output = Path(f"{folder.name}-{name}") if args.output is None else args.output
    predictor = open_predictor(folder, Terminal(live=False), on_cpu=True)
    request = ExportRequest(args.format, args.rows, args.tolerance, quantization)
    exported = export(predictor, output, request)
    echo(output)
    for note in exported.notes:
        print_note(note)
    _print_agreement(exported)
    if exported.quantization is not None:
        _print_quantization(exported.quantization)
    return 0


def _build_request(args: argparse.Namespace) -> "QuantizationRequest | None":
    """Return what is wanted in 8 bits; raise a ConfigError if options about it do not belong together."""
    quantization = build_quantization(args, ("calibrate", "max_drop"))
    if quantization is None:
        return None
    if args.format != "onnx":
        raise ConfigError(f"--quantize int8: cannot be combined with --format {args.format}; use --format onnx")
    if quantization.mode == "dynamic" and args.calibrate is not None:
        raise ConfigError("--calibrate: --quantize-mode dynamic reads no rows before it predicts; drop one of them")

    from mmrun.deploy.quantized_export import QuantizationRequest

    max_drop = DEFAULT_MAX_DROP if args.max_drop is None else args.max_drop
    return QuantizationRequest(quantization, args.calibrate, max_drop)


def _print_agreement(exported: "Exported") -> None:
    agreement = exported.agreement
    inform(f"{exported.model.name}: {format_size(exported.model.stat().st_size)}")
    labels = f", {agreement.num_equal} of {agreement.num_labels} labels equal" if agreement.num_labels else ""
    rows = f"{pluralize(exported.num_rows, 'row')} ({exported.checked.source})"
    precision = "" if exported.quantization is None else " in fp32"
    inform(
        f"compared with the run{precision} on {rows}, in batches, one by one and without each modality: largest "
        f"difference {agreement.difference:.1e}{labels}"
    )


def _print_quantization(record: "QuantizationRecord") -> None:
    """Print what 8 bits cost and gain."""
    quantization = record["quantization"]
    how = f"int8, {quantization['mode']}, {quantization['scheme']}, per {quantization['granularity']}"
    calibration = f"; ranges of {record['calibration']}" if record["calibration"] else ""
    labels = f"; {record['changed_labels']} of {record['labels']} labels change" if record["labels"] else ""
    metrics = [
        [task, change["metric"], *map(format_number, (change["before"], change["after"])),
         format_signed(change["difference"]), format_interval(change["low"], change["high"])]
        for task, change in record["tasks"].items()
    ]  # fmt: skip
    caption = f"{how}{calibration}; compared on {record['num_rows']} {record['rows']}{labels}"
    parts: list[Table | str] = []
    if metrics:
        header = ["target", "metric", "run", "int8", "difference", "95 % interval"]
        parts.append(Table(caption, header, metrics, left=2))
    else:
        parts.append(f"{caption}; without targets, nothing is known of its metrics")
    parts.append(_build_cost_table(record))
    print_parts(parts)


def _build_cost_table(record: "QuantizationRecord") -> Table:
    times, sizes = record["milliseconds"], record["bytes"]
    first_size, first_time = next(iter(sizes.values())), next(iter(times.values()))["p50"]
    rows = []
    for name, time in times.items():
        size = sizes.get(name)
        rows.append([
            name,
            format_size(size),
            "-" if size is None else f"{size / first_size:.2f}x",
            *(format_number(time[key]) for key in ("p50", "p99")),
            f"{time['p50'] / first_time:.2f}x",
        ])  # fmt: skip
    caption = f"milliseconds of one row, {pluralize(record['threads'], 'thread')} of this CPU"
    return Table(caption, ["model", "file", "of fp32", "p50", "p99", "of PyTorch"], rows)
