"""`mmrun bench`: how fast a config trains and answers on this machine."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.cli.table import format_count, format_size, print_table

if TYPE_CHECKING:
    from mmrun.run.bench import Timing

HELP = "Time steps of each stage, and answers of the model to a batch and to one row. Trains and keeps nothing."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign] # flags among the words, as in train
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as after `mmrun train`")
    parser.add_argument("--seconds", type=float, default=2.0, help="that each measurement takes (default 2)")
    parser.add_argument("--config-dir", action="append", default=[], metavar="DIR", help="search YAML here first")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print what was measured."""
    import torch

    from mmrun import compose
    from mmrun.cli.terminal import Terminal
    from mmrun.results.environment import describe_environment
    from mmrun.run.bench import bench

    compose.use_config_dirs(args.config_dir)
    config = compose.load(args.overrides)
    with tempfile.TemporaryDirectory() as scratch, Terminal(live=False) as terminal:
        found = bench(config, Path(scratch), terminal, args.seconds)
    name = "cpu" if config.trainer.device == "cpu" or not torch.cuda.is_available() else "cuda"
    machine = describe_environment(name, torch.get_num_threads())
    if args.format == "json":
        timings = [{**asdict(timing), "row": timing.seconds_per_row} for timing in found]
        print(json.dumps({"device": machine["device"], "threads": machine["threads"], "timings": timings}, indent=1))
        return 0
    header = ["what", "rows", "p50", "p99", "a row", "rows/s", "FLOP/s", "of the peak", "memory"]
    print_table(header, [_row(timing) for timing in found])
    print(f"\n{machine['device']}, {machine['threads']} threads, {config.trainer.precision}")
    return 0


def _row(timing: "Timing") -> list[str]:
    return [
        timing.what,
        str(timing.rows),
        f"{1000 * timing.p50:.3g} ms",
        f"{1000 * timing.p99:.3g} ms",
        f"{1000 * timing.seconds_per_row:.3g} ms",
        f"{timing.samples_per_second:,.0f}",
        "" if timing.flops_per_second is None else format_count(timing.flops_per_second),
        "" if timing.mfu is None else f"{timing.mfu:.0%}",
        format_size(timing.peak_memory),
    ]
