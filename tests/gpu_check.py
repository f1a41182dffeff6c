"""Checks on one GPU what only a GPU can show, in at most 8 minutes.

    scripts/gpu-check [--part NAME ...] [--tiny]

Parts run in order of importance, each within a time limit. A line is printed as each ends, and below it what failed or
was measured. The exit code is 1 if a part fails, runs out of time or misses a goal of benchmarks/gpu.py. Without a GPU
every part is skipped; --tiny rehearses on the CPU what can run there, with small models and without goals.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).parents[1]
TOTAL = 480.0  # s, of all parts
TINY_FACTOR = 10.0  # on the limits: a CPU that others use as well
PYTEST = ["-m", "pytest", "-rf", "--tb=short", "-p", "no:cacheprovider"]
COLUMNS = "{:16} {:12} {:>6}  {}"


class Part(NamedTuple):
    """A process of its own, so that a fault or an exhausted GPU ends with it."""

    name: str
    command: list[str]  # arguments of Python
    limit: float  # s


class Outcome(NamedTuple):
    result: str  # passed | failed | out of time
    seconds: float
    output: str


def pytest_part(name: str, limit: float) -> Part:
    return Part(name, [*PYTEST, f"tests/gpu/test_{name}.py"], limit)


def benchmark_part(name: str, limit: float) -> Part:
    return Part(name, ["benchmarks/gpu.py", "--model", name], limit)


PARTS = [
    pytest_part("precision", 90),
    pytest_part("resume", 80),
    pytest_part("memory", 60),
    pytest_part("compile", 80),
    benchmark_part("vit_bert", 120),
    pytest_part("distributed", 60),
    pytest_part("inputs", 60),
    pytest_part("kernels", 60),
    pytest_part("vectorize", 60),
    Part("seeds", ["benchmarks/seeds.py", "--epochs", "5", "--case", "mlp", "--case", "digits"], 90),
    benchmark_part("resnet_gru_cnn", 90),
]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[part.name for part in PARTS], action="append", help="default: all of them")
    parser.add_argument("--tiny", action="store_true", help="rehearse on the CPU")
    args = parser.parse_args(arguments)
    parts = [part for part in PARTS if args.part is None or part.name in args.part]
    print(describe_machine(args.tiny), flush=True)
    print(COLUMNS.format("part", "result", "s", ""))
    if not args.tiny and not torch.cuda.is_available():
        for part in parts:
            print(COLUMNS.format(part.name, "skipped", "", "no GPU (--tiny rehearses on the CPU)"))
        return 0
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    if args.tiny:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    deadline = time.monotonic() + TOTAL * (TINY_FACTOR if args.tiny else 1)
    outcomes = []
    for part in parts:
        command = [*part.command, *(["--tiny"] if args.tiny else [])]
        limit = min(part.limit * (TINY_FACTOR if args.tiny else 1), deadline - time.monotonic())
        outcomes.append(run_part(part._replace(command=command, limit=limit), environment))
        report(part.name, outcomes[-1])
    passed = sum(outcome.result == "passed" for outcome in outcomes)
    print(f"{passed} of {len(parts)} parts passed, {sum(outcome.seconds for outcome in outcomes):.0f} s")
    return 0 if passed == len(parts) else 1


def describe_machine(tiny: bool) -> str:
    if tiny or not torch.cuda.is_available():
        return f"no GPU used, torch {torch.__version__}, Python {sys.version.split()[0]}"
    properties = torch.cuda.get_device_properties(0)
    memory = f"{properties.total_memory / 2**30:.0f} GiB"
    return f"{properties.name}, {memory}, torch {torch.__version__}, Python {sys.version.split()[0]}"


def run_part(part: Part, environment: dict[str, str]) -> Outcome:
    """Run a part; where its time is over, end it with all processes that it started."""
    began = time.monotonic()
    if part.limit <= 0:
        return Outcome("out of time", 0.0, "")
    process = subprocess.Popen(
        [sys.executable, *part.command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=part.limit)
        result = "passed" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        result = "out of time"
    return Outcome(result, time.monotonic() - began, output)


def report(name: str, outcome: Outcome) -> None:
    """Print the line of a part: the summary of its tests, or below it all lines of a benchmark or a failure."""
    lines = outcome.output.rstrip().splitlines()
    is_quiet = outcome.result == "passed" and bool(lines) and (" passed" in lines[-1] or " skipped" in lines[-1])
    print(COLUMNS.format(name, outcome.result, f"{outcome.seconds:.0f}", lines[-1] if is_quiet else ""), flush=True)
    if not is_quiet:
        print(*(f"    {line}" for line in lines[-60:]), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
