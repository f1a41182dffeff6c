"""Training from files against a plain PyTorch script: samples/s after the first epoch, of mmrun over the others.

    scripts/bench loader [--rows 2000] [--size 224] [--rounds 3] [--threads N] [--batches-alone]

2,000 JPEGs of 256 px and as many WAVs of one second. They take turns, an epoch each: with the model (LeNet and a small
log-mel CNN, concatenated), and the batches alone.

    stored    mmrun, from columns that were decoded once into the cache
    memory    mmrun, from the same columns as tensors in memory
    streamed  mmrun, beyond cache_limit: decoded anew for every batch, ahead of the step
    plain     a Dataset that decodes both, a DataLoader with two workers that stay, and the same model, loss and
              optimiser in a loop by hand
"""

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import torch
from _training import open_run
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmrun import compose
from mmrun.data.store import MappedColumn
from mmrun.run.build_stage import build_stage
from mmrun.training.built_stage import BuiltStage
from mmrun.types import Batch

PIXELS, RATE, BATCH = 256, 8000, 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--size", type=int, default=224, help="pixels that the model reads")
    parser.add_argument("--batches-alone", action="store_true", help="leave out the rounds with the model")
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
        stage, steps = session.stages["train"], args.rows // BATCH
        plain = Plain(copy.deepcopy(session.model), folder, labels, args.size)
        streamed = open_run(compose.load([*words, "cache_limit=1e-6", f"cache={folder}/empty"]), folder / "streamed")
        in_memory = replace(session, columns={name: copied(column) for name, column in session.columns.items()})
        sides = {
            "stored": Ours(build_stage(session, stage), steps),
            "memory": Ours(build_stage(in_memory, stage), steps),
            "streamed": Ours(build_stage(streamed, streamed.stages["train"]), steps),
            "plain": plain,
        }
        if not args.batches_alone:
            compare("with the model", sides, args.rows, args.rounds, model=True)
        compare("batches alone", sides, args.rows, args.rounds, model=False)
    return 0


def copied(column: MappedColumn) -> MappedColumn:
    """Return a column whose tensors are in memory."""
    parts = {name: part.clone() for name, part in column.parts.items()}
    return MappedColumn(parts, column.present.numpy(), {})


def compare(what: str, sides: Mapping[str, "Ours | Plain"], rows: int, rounds: int, model: bool) -> None:
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):  # the first epoch is left out
        for name, side in sides.items():
            rate = rows / timed(side.epoch, model)
            if number:
                rates[name].append(rate)
    for name in ("stored", "memory", "streamed", "plain"):
        print(f"  {name:8} {np.median(rates[name]):8.0f} samples/s", flush=True)
    for name in ("plain", "memory", "streamed"):
        ratio = np.median(np.array(rates["stored"]) / np.array(rates[name]))
        print(f"{what}: stored over {name}: median x {ratio:.2f} (load {os.getloadavg()[0]:.1f})", flush=True)


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
        # Not forked: while a thread of mmrun opens a sound, it holds a lock of soundfile, which a child would never get
        self.loader = DataLoader(
            rows, BATCH, shuffle=True, num_workers=2, persistent_workers=True, multiprocessing_context="forkserver"
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
