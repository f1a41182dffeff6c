"""Write drives of a car with camera, lidar and radar, in the layout of KITTI's raw data (Geiger et al., 2013).

Every two seconds another object is ahead. Each sensor tells one of the three bits of its type, has a rate of its own,
starts when it is ready and now and then loses a frame: only the files timestamps.txt say what belongs together.
"""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from mmrun.data.benchmarks.kitti import TYPES
from mmrun.testing.driving import PCD_HEADER, draw_echoes, draw_picture, draw_scan

FOLDER = Path(__file__).parent / "data"
START = datetime(2011, 9, 26, 13, 2, 25)
NUM_DRIVES, NUM_OBJECTS, SECONDS = 10, 30, 2.0  # drives, objects of a drive, seconds of an object
SENSORS = {  # folder, as KITTI calls it: frames a second, and seconds until the first one
    "image_02": (1.25, 0.0),
    "velodyne_points": (2.5, 1.3),
    "radar": (4.0, 0.6),  # KITTI has none
}
LOST = 0.1  # share of the frames


def main() -> None:
    """Write all drives."""
    rng = np.random.default_rng(0)
    for drive in range(NUM_DRIVES):
        write_drive(rng, FOLDER / f"2011_09_26_drive_{drive:04}_extract")
    print(FOLDER)


def write_drive(rng: np.random.Generator, folder: Path) -> None:
    """Write the frames of all sensors, and what is ahead when."""
    kinds = rng.integers(0, len(TYPES), NUM_OBJECTS)
    for sensor, (rate, delay) in SENSORS.items():
        (folder / sensor / "data").mkdir(parents=True, exist_ok=True)
        times = np.arange(delay, NUM_OBJECTS * SECONDS, 1 / rate) + rng.uniform(0, 0.02)
        times = times[rng.random(len(times)) >= LOST]
        for number, time in enumerate(times):
            kind = int(kinds[int(time / SECONDS)])
            write_frame(rng, folder / sensor / "data" / f"{number:010}", sensor, kind)
        lines = [(START + timedelta(seconds=time)).isoformat(sep=" ") for time in times.tolist()]
        (folder / sensor / "timestamps.txt").write_text("\n".join(lines) + "\n")
    with open(folder / "objects.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["from", "object"])
        for number, kind in enumerate(kinds):
            writer.writerow([(START + timedelta(seconds=SECONDS * number)).isoformat(sep=" "), TYPES[kind]])


def write_frame(rng: np.random.Generator, stem: Path, sensor: str, kind: int) -> None:
    """Write what a sensor sees of an object: its bit of the object's number."""
    is_blue, is_hollow, approaches = (bool(kind >> bit & 1) for bit in range(3))
    if sensor == "image_02":
        draw_picture(rng, is_blue).save(stem.with_suffix(".png"))
    elif sensor == "velodyne_points":
        draw_scan(rng, is_hollow).tofile(stem.with_suffix(".bin"))
    else:
        echoes = draw_echoes(rng, approaches)
        stem.with_suffix(".pcd").write_bytes(PCD_HEADER.format(count=len(echoes)).encode() + echoes.tobytes())


if __name__ == "__main__":
    main()
