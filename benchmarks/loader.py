"""Training from files against a plain PyTorch script: samples/s after the first epoch, ours over plain.

    scripts/bench loader [--rows 2000] [--size 32] [--rounds 3] [--threads N]

2,000 JPEGs of 256 px and as many WAVs of one second. The plain side is a Dataset that decodes both, a DataLoader with
two workers that stay, and the same model, loss and optimiser in a loop by hand; ours is the engine. They take turns, an
epoch each: with the model (LeNet and a small log-mel CNN, concatenated), and the batches alone.
"""

import argparse
import copy
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from _training import open_run
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmrun import compose
from mmrun.run.stage import build_stage
from mmrun.training.built_stage import BuiltStage
from mmrun.types import Batch

PIXELS, RATE, BATCH = 256, 8000, 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--size", type=int, default=32, help="pixels that the model reads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="of torch, on either side; its own choice where none is given")
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        labels = files(folder, args.rows)
        words = [
            *("dataset=manifest", f"dataset.path={folder}/table.csv", "trainer.device=cpu", f"cache={folder}/cache"),
            *("encoder.photo=lenet", f"encoder.photo.preprocess.size={args.size}", "encoder.sound=logmel_cnn"),
            *(f"encoder.sound.preprocess.sample_rate={RATE}", "encoder.sound.preprocess.seconds=1"),
            *("encoder.sound.n_fft=1024", "encoder.sound.hop_length=512", "encoder.sound.n_mels=32"),
            *("encoder.sound.channels=[4,8,16]", "encoder.sound.kernels=[3,3,3]"),
            *("fusion=concat", f"trainer.batch_size={BATCH}"),
        ]
        config = compose.load(words)
        began = time.perf_counter()
        session = open_run(config, folder / "run")
        print(f"decoded once in {time.perf_counter() - began:.1f} s")
        ours = Ours(build_stage(session, session.stages["train"]), args.rows // BATCH)
        plain = Plain(copy.deepcopy(session.model), folder, labels, args.size)
        for what, model in (("with the model", True), ("batches alone", False)):
            ratios = []
            for number in range(args.rounds + 1):  # the first epoch of both is left out
                rates = [args.rows / timed(side.epoch, model) for side in (ours, plain)]
                if number:
                    ratios.append(rates[0] / rates[1])
                    print(f"  ours {rates[0]:8.0f}  plain {rates[1]:8.0f} samples/s  x {ratios[-1]:.1f}", flush=True)
            print(f"{what}: median x {np.median(ratios):.1f} (load {os.getloadavg()[0]:.1f})")
    return 0


def timed(epoch, model: bool) -> float:
    began = time.perf_counter()
    epoch(model)
    return time.perf_counter() - began


def files(folder: Path, rows: int) -> list[int]:
    """Write pictures, sounds and the table that names them; give the labels."""
    draw = np.random.default_rng(0)
    lines, labels = ["photo,sound,split,label"], []
    for row in range(rows + 20):
        coarse = draw.integers(0, 256, (PIXELS // 8, PIXELS // 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((PIXELS, PIXELS)).save(folder / f"{row}.jpg", quality=90)
        soundfile.write(folder / f"{row}.wav", draw.uniform(-0.5, 0.5, RATE), RATE)
        split = "train" if row < rows else "val" if row % 2 else "test"
        lines.append(f"{row}.jpg,{row}.wav,{split},{'ab'[row // 2 % 2]}")
        labels.append(row // 2 % 2)
    (folder / "table.csv").write_text("\n".join(lines))
    return labels


class Ours:
    """The steps of the engine, less its bookkeeping."""

    def __init__(self, built: BuiltStage, steps: int) -> None:
        self.built, self.steps, self.step = built, steps, 0

    def epoch(self, model: bool) -> None:
        for _ in range(self.steps):
            batch = self.built.batches.batch(self.step)
            self.step += 1
            if model:
                self.built.prepared(batch)["loss"].backward()
                self.built.optimizer.step()
                self.built.optimizer.zero_grad()


class Files(Dataset):
    """What one writes by hand."""

    def __init__(self, folder: Path, labels: list[int], size: int) -> None:
        self.folder, self.labels, self.size = folder, labels, size

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int):
        with Image.open(self.folder / f"{row}.jpg") as file:
            picture = file.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        waveform, _ = soundfile.read(self.folder / f"{row}.wav", dtype="float32")
        return pixels, torch.from_numpy(waveform), self.labels[row]


class Plain:
    """A loop by hand over a DataLoader with two workers."""

    def __init__(self, model, folder: Path, labels: list[int], size: int) -> None:
        self.model = model.train()
        learned = [p for name, p in model.named_parameters() if not name.startswith("probe.")]
        self.optimizer = torch.optim.AdamW(learned, fused=True)
        rows = Files(folder, labels[: len(labels) - 20], size)
        self.loader = DataLoader(
            rows, BATCH, shuffle=True, num_workers=2, persistent_workers=True, multiprocessing_context="fork"
        )

    def epoch(self, model: bool) -> None:
        for pixels, waveform, label in self.loader:
            if model:
                there = torch.ones(len(label), dtype=torch.bool)
                sound = {"waveform": waveform, "length": torch.full((len(label),), waveform.shape[1])}
                batch = Batch({"photo": pixels, "sound": sound}, {"photo": there, "sound": there}, {}, label)
                torch.nn.functional.cross_entropy(self.model(batch)["label"], label).backward()
                self.optimizer.step()
                self.optimizer.zero_grad()


if __name__ == "__main__":
    sys.exit(main())
