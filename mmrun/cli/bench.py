"""mmrun bench: the speed of training and inference of a config on this machine."""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_overrides, add_table_format, parse_number
from mmrun.results.formatting import format_count, format_milliseconds, format_size
from mmrun.results.table import Table
from mmrun.values import Range

if TYPE_CHECKING:
    from mmrun.run.bench import Timing

HELP = "Time a training step of each stage, and inference on a batch and on a single row. Nothing is stored."

HEADER = ["what", "rows", "p50", "p99", "a row", "rows/s", "FLOP/s", "of the peak", "memory"]

DETAILS = tuple(HEADER.index(name) for name in ("rows", "FLOP/s", "of the peak", "memory"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_overrides(parser)
    parser.add_argument(
        "--seconds",
        type=parse_number(float, Range(above=0, at_most=3600)),
        default=2.0,
        help="duration of each measurement (default: 2)",
    )
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the timings."""
    import torch

    from mmrun import compose
    from mmrun.cli.terminal import Terminal
    from mmrun.results.environment import describe_environment
    from mmrun.run.bench import bench

    compose.use_config_dirs(args.config_dir)
    config = compose.load(args.overrides)
    with tempfile.TemporaryDirectory() as scratch, Terminal(live=False) as terminal:
        timings = bench(config, Path(scratch), terminal, args.seconds)
    device = "cpu" if config.trainer.device == "cpu" or not torch.cuda.is_available() else "cuda"
    machine = describe_environment(device, torch.get_num_threads())
    table = Table("", HEADER, [_format_timing(timing) for timing in timings], details=DETAILS)
    where = f"{machine['device']}, {machine['threads']} threads, {config.trainer.precision}"
    records = _to_json(timings)
    document = {"device": machine["device"], "threads": machine["threads"], "timings": records}
    print_answer(Answer([table, where], document, records), args.format)
    return 0


def _to_json(timings: Sequence["Timing"]) -> list[dict[str, object]]:
    return [{**asdict(timing), "row": timing.seconds_per_row} for timing in timings]


def _format_timing(timing: "Timing") -> list[str]:
    return [
        timing.what,
        str(timing.rows),
        format_milliseconds(timing.p50),
        format_milliseconds(timing.p99),
        format_milliseconds(timing.seconds_per_row),
        f"{timing.samples_per_second:,.0f}",
        "" if timing.flops_per_second is None else format_count(timing.flops_per_second),
        "" if timing.mfu is None else f"{timing.mfu:.0%}",
        format_size(timing.peak_memory),
    ]
