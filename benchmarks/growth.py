"""Samples/s and memory of a training, from ten thousand rows to a million.

    scripts/bench growth [--rows 10000,100000,1000000] [--columns 8] [--steps 100] [--rounds 40]

Rows of numbers in a Parquet file, strategy `holistic`, a small MLP. Each size is opened in a process of its own; then
the processes take turns at blocks of steps, so that what else the machine does meets all alike. Memory is what a
process holds for itself (RssAnon): pages mapped from files are not counted, the system takes them back when it likes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _training import open_stage

from mmrun import compose


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100, help="of a block")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--open", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.open:
        return serve(Path(args.open), args.steps)
    sizes = [int(size) for size in args.rows.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        children = {}
        for size in sizes:
            file = written(Path(scratch), size, args.columns)
            command = [sys.executable, __file__, "--open", str(file), "--steps", str(args.steps)]
            children[size] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            print(f"{size:9,} rows: {children[size].stdout.readline().strip()}", flush=True)
        rates: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(args.rounds + 1):
            for size, child in children.items():
                rates[size].append(asked(child))
        held = {size: asked(child, "memory") for size, child in children.items()}
        for child in children.values():
            child.stdin.close()
            child.wait()
    first = np.array(rates[sizes[0]][1:])
    for size in sizes:
        rate = np.array(rates[size][1:])
        ratio = np.median(rate / first)
        print(f"{size:9,} rows: {np.median(rate):8.0f} samples/s, x {ratio:.3f}; {held[size]:6.0f} MB held")
    print(f"load {os.getloadavg()[0]:.1f}")
    return 0


def asked(child: subprocess.Popen, what: str = "block") -> float:
    child.stdin.write(f"{what}\n")
    child.stdin.flush()
    return float(child.stdout.readline())


def written(folder: Path, rows: int, columns: int) -> Path:
    """Write the rows, in pieces."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    file = folder / f"{rows}.parquet"
    draw = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, 50_000):
        number = min(50_000, rows - start)
        cells = {f"x{i}": draw.standard_normal(number) for i in range(columns)}
        cells["label"] = np.where(cells["x0"] + draw.standard_normal(number) > 0, "up", "down")
        cells["split"] = draw.choice(["train", "val", "test"], number, p=[0.98, 0.01, 0.01])
        piece = pyarrow.table(cells)
        writer = writer or ParquetWriter(file, piece.schema)
        writer.write_table(piece)
    writer.close()
    return file


def serve(file: Path, steps: int) -> int:
    """Open a data set, and train a block of steps at each word."""
    torch.set_num_threads(1)
    words = ["dataset=manifest", f"dataset.path={file}", "trainer.device=cpu", f"cache={file.parent}/cache"]
    config = compose.load(words)
    began, before = time.perf_counter(), held()
    _, built = open_stage(config, file.parent / file.stem)
    print(f"opened in {time.perf_counter() - began:.1f} s, {held():.0f} MB held ({before:.0f} before)", flush=True)
    step = 0
    for word in sys.stdin:
        if word.strip() == "memory":
            print(held(), flush=True)
            continue
        began = time.perf_counter()
        for _ in range(steps):
            loss = built.prepared(built.batches.batch(step))["loss"]
            loss.backward()
            built.optimizer.step()
            built.optimizer.zero_grad()
            step += 1
        print(steps * config.trainer.batch_size / (time.perf_counter() - began), flush=True)
    return 0


def held() -> float:  # MB
    """Give the memory of this process that no file backs."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    sys.exit(main())
