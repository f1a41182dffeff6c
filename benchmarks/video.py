"""Decoding of videos: frames a second on all cores, and how much faster a later epoch reads what was decoded once.

    scripts/bench video [--videos 60] [--seconds 10] [--num-frames 8] [--size 112]

MP4 files of 320 x 240 pixels at 25 frames a second (H.264), and GIFs of a tenth of the frames, both of moving noise.
The extra `video` has to be installed.

    mp4, gif   frames that are read a second: decoded, resized and stored, with all cores
    all        frames a second that the decoder passes through, were every frame read
    later      rows a second of a later epoch, over those of the first
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image

from mmrun.data.preprocess.video import Frames
from mmrun.data.store import open_column
from mmrun.data.table import Column

PLENTY = 1 << 36  # bytes
WIDTH, HEIGHT, RATE = 320, 240, 25
BATCH = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--num-frames", type=int, default=8, help="that are read of each video")
    parser.add_argument("--size", type=int, default=112, help="pixels that the model reads")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, {args.videos} videos of {args.seconds} s, {args.num_frames} frames of each")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, write in (("mp4", write_mp4), ("gif", write_gif)):
            values = [write(folder / f"{number}.{name}", number, args.seconds) for number in range(args.videos)]
            measure(name, values, Frames(args.num_frames, args.size), folder / name)
        every = Frames(min(256, args.seconds * RATE), args.size)
        every.fit(Column("video", values[:1]), np.arange(1))
        began = time.perf_counter()
        every.decode(folder / "0.mp4")
        print(f"all    {every.num_frames / (time.perf_counter() - began):9,.0f} frames/s on one core")
    return 0


def measure(name: str, values: list[Path], frames: Frames, cache: Path) -> None:
    """Print how fast a column is decoded, and how much faster its batches are read afterwards."""
    column = Column("video", values)
    frames.fit(column, np.arange(len(values)))
    began = time.perf_counter()
    stored = open_column(column, frames, name, cache, PLENTY)
    decoding = time.perf_counter() - began
    repeats, began = 20, time.perf_counter()
    for _ in range(repeats):
        for rows in torch.randperm(len(values)).split(BATCH):
            stored.gather(rows)
    later = (time.perf_counter() - began) / repeats
    rate = len(values) * frames.num_frames / decoding
    print(f"{name}    {rate:9,.0f} frames/s; later epochs {decoding / later:,.0f} times as fast")


def draw_frames(seed: int, count: int) -> np.ndarray:
    """Return smooth noise that moves to the right, [count, HEIGHT, WIDTH, 3] uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    return np.stack([np.roll(image, 2 * step, axis=1) for step in range(count)])


def write_mp4(path: Path, seed: int, seconds: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for pixels in draw_frames(seed, seconds * RATE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_gif(path: Path, seed: int, seconds: int) -> Path:
    drawn = draw_frames(seed, max(2, seconds * RATE // 10))
    first, *others = [Image.fromarray(pixels).convert("L") for pixels in drawn]
    first.save(path, save_all=True, append_images=others, duration=400)
    return path


if __name__ == "__main__":
    sys.exit(main())
