"""Write a toy of camera, lidar and radar in the layout of KITTI (Geiger et al., 2012).

Each frame shows an object of one of KITTI's eight types, and each sensor tells one of its three bits: the camera its
colour, the lidar whether it is solid or hollow, which looks the same from above, and the radar whether it approaches.
`mmrun data prepare kitti --source FOLDER` makes a manifest of it.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from mmrun.data.benchmarks.kitti import TYPES

LABEL = "{} 0.00 0 0.00 10.00 8.00 22.00 18.00 2.00 2.00 2.00 0.00 1.00 8.00 0.00\n"
COLOURS = ((200, 60, 60), (60, 60, 200))  # of the object in the picture
WIDTH, HEIGHT = 32, 24  # of the picture, pixels
SIDE = 2.0  # of the object, metres
GROUND = 4.0  # radius of the ground around the sensor, metres
NUM_GROUND, NUM_OBJECT, NUM_ECHOES = 200, 300, 24  # points of a scan, and of the radar
PCD_HEADER = """# .PCD v0.7
VERSION 0.7
FIELDS x y z velocity
SIZE 4 4 4 4
TYPE F F F F
COUNT 1 1 1 1
WIDTH {count}
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS {count}
DATA binary
"""


def write_driving(folder: Path, num_frames: int = 400, seed: int = 0) -> None:
    """Write the frames.

    Args:
        folder: written; made if it does not exist.
        num_frames: as many of each type as possible.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    for name in ("image_2", "label_2", "velodyne", "radar"):
        (folder / "training" / name).mkdir(parents=True, exist_ok=True)
    for number in range(num_frames):
        kind = number % len(TYPES)
        is_blue, is_hollow, approaches = (bool(kind >> bit & 1) for bit in range(3))
        files = folder / "training"
        (files / "label_2" / f"{number:06}.txt").write_text(LABEL.format(TYPES[kind]))
        draw_picture(rng, is_blue).save(files / "image_2" / f"{number:06}.png")
        draw_scan(rng, is_hollow).tofile(files / "velodyne" / f"{number:06}.bin")
        echoes = draw_echoes(rng, approaches)
        header = PCD_HEADER.format(count=len(echoes)).encode()
        (files / "radar" / f"{number:06}.pcd").write_bytes(header + echoes.tobytes())


def draw_picture(rng: np.random.Generator, is_blue: bool) -> Image.Image:
    """Draw a square of one of two colours at a random place, in noise."""
    pixels = rng.integers(60, 200, (HEIGHT, WIDTH, 3))
    top, left = rng.integers(0, HEIGHT - 10), rng.integers(0, WIDTH - 10)
    pixels[top : top + 10, left : left + 10] = COLOURS[is_blue]
    return Image.fromarray(pixels.astype(np.uint8))


def draw_scan(rng: np.random.Generator, is_hollow: bool) -> np.ndarray:
    """Draw the ground, and an object at a random place; of a hollow one, only floor and roof.

    Returns:
        [points, 4] float32: x, y, z and intensity.
    """
    angle, distance = rng.uniform(0, 2 * np.pi, NUM_GROUND), GROUND * np.sqrt(rng.uniform(0, 1, NUM_GROUND))
    ground = np.stack([distance * np.cos(angle), distance * np.sin(angle), np.zeros(NUM_GROUND)], axis=1)
    height = rng.integers(0, 2, NUM_OBJECT) if is_hollow else rng.uniform(0, 1, NUM_OBJECT)
    body = np.column_stack([rng.uniform(-0.5, 0.5, (NUM_OBJECT, 2)), height]) * SIDE
    body += np.append(rng.uniform(-1, 1, 2), 0.0)
    coordinates = np.concatenate([ground, body]) + rng.normal(0, 0.02, (NUM_GROUND + NUM_OBJECT, 3))
    scan = np.column_stack([coordinates, rng.uniform(0, 1, len(coordinates))])
    return rng.permutation(scan).astype("<f4")


def draw_echoes(rng: np.random.Generator, approaches: bool) -> np.ndarray:
    """Draw echoes of the object, some of which stand still.

    Returns:
        [points, 4] float32: x, y, z and the velocity away from the sensor, in m/s.
    """
    velocity = rng.normal(-5.0 if approaches else 5.0, 1.5, NUM_ECHOES) * (rng.uniform(size=NUM_ECHOES) < 0.6)
    return np.column_stack([rng.uniform(-1, 1, (NUM_ECHOES, 3)), velocity]).astype("<f4")


def main() -> None:
    """Write the frames into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Write a toy of camera, lidar and radar in the layout of KITTI.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="training/ goes there")
    parser.add_argument("--frames", type=int, default=400, help="number of frames (default: 400)")
    args = parser.parse_args()
    if args.frames < 1:
        parser.error(f"--frames: {args.frames} is not above 0")
    try:
        write_driving(args.folder, args.frames)
    except OSError as error:
        sys.exit(f"driving: {error}")
    print(f"mmrun data prepare kitti --source {args.folder}")


if __name__ == "__main__":
    main()
