"""Small streams, and tables whose rows are parts of them."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_ramp(path: Path, start: float, stop: float, rate: float) -> None:
    """Write a CSV file of a series whose second column is twice its time."""
    times = np.arange(start, stop, 1 / rate)
    path.write_text("time,x\n" + "".join(f"{time:.6f},{2 * time:.6f}\n" for time in times))


def write_frames(folder: Path, names: list[str]) -> None:
    """Write pictures, the first of which is black and each next one a little brighter."""
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.new("L", (4, 4), 10 * number).save(folder / name)


def write_table(folder: Path, cell: str, times: list[object], name: str = "my.csv") -> str:
    """Write a table of rows of one stream, all for training but two for each other split."""
    path = folder / name
    splits = ["train"] * (len(times) - 2) + ["val", "test"]
    lines = [f"{cell},{time},{row}.5,{row % 2},{splits[row]}" for row, time in enumerate(times)]
    path.write_text("stream,at,size,label,split\n" + "".join(f"{line}\n" for line in lines))
    return str(path)
