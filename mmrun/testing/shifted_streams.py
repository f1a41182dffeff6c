"""Write a toy of two sensors whose clocks differ: `streams.csv`, in which each row is a moment of two long series.

Around the time of each row both sensors see a pulse, `b` after `a`. The class of the row is whether exactly LAG passes
between the two. `b` is sampled at another rate, and its clock is OFFSET behind, so that a row sees the pulse of another
row where its own should be. `dataset.align` brings the streams together (docs/data.md).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

RATES = {"a": 100.0, "b": 40.0}  # Hz
OFFSET = 4.0  # s, what has to be added to the clock of b
LAG = 0.2  # s from the pulse of a to that of b, in rows of class 1
OTHER_LAGS = (0.05, 0.35)  # in rows of class 0
SPACING = 2.0  # s from row to row
WIDTH = 0.02  # s, of a pulse
NOISE = 0.1  # standard deviation; pulses have the height 1


def write_shifted_streams(folder: Path, num_rows: int = 600, seed: int = 0) -> None:
    """Write the two series and the table of rows.

    Args:
        folder: written; made if it does not exist.
        num_rows: of the table.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    times = SPACING * (1 + np.arange(num_rows))
    labels = rng.permutation(num_rows) % 2
    pulses = {"a": times + rng.uniform(-0.3, 0.0, num_rows)}
    pulses["b"] = pulses["a"] + np.where(labels == 1, LAG, rng.choice(OTHER_LAGS, num_rows))
    for name, rate in RATES.items():
        clock = np.arange(0, times[-1] + SPACING, 1 / rate)
        series = draw_pulses(clock, pulses[name]) + NOISE * rng.standard_normal(len(clock))
        shift = OFFSET if name == "b" else 0.0
        lines = [f"{time:.4f},{value:.4f}\n" for time, value in zip(clock - shift, series, strict=True)]
        (folder / f"{name}.csv").write_text("time,value\n" + "".join(lines))
    rows = [f"a.csv,b.csv,{time:g},{label}\n" for time, label in zip(times, labels, strict=True)]
    (folder / "streams.csv").write_text("a,b,at,follows\n" + "".join(rows))


def draw_pulses(clock: np.ndarray, pulses: np.ndarray) -> np.ndarray:
    """Return a series of pulses.

    Args:
        clock: times of the samples [T], in s.
        pulses: times of the pulses [n], ascending.

    Returns:
        [T].
    """
    after = np.searchsorted(pulses, clock).clip(1, len(pulses) - 1)
    distance = np.minimum(abs(clock - pulses[after - 1]), abs(clock - pulses[after]))
    series: np.ndarray = np.exp(-((distance / WIDTH) ** 2) / 2)
    return series


def main(arguments: list[str]) -> None:
    """Write the toy to the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m mmrun.testing.shifted_streams", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--rows", type=int, default=600, help="of the table (default: 600)")
    options = parser.parse_args(arguments)
    write_shifted_streams(options.folder, options.rows)


if __name__ == "__main__":
    main(sys.argv[1:])
