"""Write two manifests of the drives: a row for each picture, with the lidar and radar frames that belong to it.

`by_time.csv` takes the frame nearest in time, and none where the nearest is too far away; `by_number.csv` takes the one
of the same number, as if the sensors were synchronised, and the last one where there are fewer.
"""

import csv
from bisect import bisect_right
from datetime import datetime
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
PAIRED = {"lidar": ("velodyne_points", ".bin"), "radar": ("radar", ".pcd")}
TOLERANCE = 0.25  # seconds
Row = dict[str, str]


def main() -> None:
    """Write both manifests."""
    rows: dict[str, list[Row]] = {"by_time": [], "by_number": []}
    for drive in sorted(FOLDER.glob("*_extract")):
        rows["by_time"] += pair(drive, by_time=True)
        rows["by_number"] += pair(drive, by_time=False)
    for name, manifest in rows.items():
        with open(FOLDER / f"{name}.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["image", *PAIRED, "object", "drive"])
            writer.writeheader()
            writer.writerows(manifest)
        counts = ", ".join(f"{sum(row[sensor] == '' for row in manifest)} without {sensor}" for sensor in PAIRED)
        print(f"{FOLDER / name}.csv: {len(manifest)} rows, {counts}")


def pair(drive: Path, by_time: bool) -> list[Row]:
    """Return a row for each picture of a drive."""
    with open(drive / "objects.csv", newline="") as file:
        objects = [(read_time(row["from"]), row["object"]) for row in csv.DictReader(file)]
    times = {sensor: read_times(drive / folder) for sensor, (folder, _) in PAIRED.items()}
    rows = []
    for number, time in enumerate(read_times(drive / "image_02")):
        row = {"image": name_frame(drive, "image_02", number, ".png"), "drive": drive.name}
        row["object"] = objects[bisect_right(objects, time, key=lambda start: start[0]) - 1][1]
        for sensor, (folder, suffix) in PAIRED.items():
            nearest = int(np.abs(times[sensor] - time).argmin()) if by_time else min(number, len(times[sensor]) - 1)
            is_usable = abs(times[sensor][nearest] - time) <= TOLERANCE or not by_time
            row[sensor] = name_frame(drive, folder, nearest, suffix) if is_usable else ""
        rows.append(row)
    return rows


def read_times(folder: Path) -> np.ndarray:
    """Return the times of a sensor's frames, in seconds."""
    return np.array([read_time(line) for line in (folder / "timestamps.txt").read_text().splitlines()])


def read_time(text: str) -> float:
    """Return a time in seconds; KITTI writes nanoseconds, of which six digits are read."""
    return datetime.fromisoformat(text[:26]).timestamp()


def name_frame(drive: Path, folder: str, number: int, suffix: str) -> str:
    """Return the name of a frame, relative to the manifests."""
    return f"{drive.name}/{folder}/data/{number:010}{suffix}"


if __name__ == "__main__":
    main()
