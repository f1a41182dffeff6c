"""Rows in which one part of one modality carries the label, and a small model that learned it."""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mmrun.data.loader import Loader
from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.preprocess.video import Frames
from mmrun.data.store import open_lazily
from mmrun.data.table import Column
from mmrun.deploy.explain.explainer import Explainer
from mmrun.deploy.explain.target import parse_target
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.head import FUSED
from mmrun.models.encoders.audio import LogMelCnn
from mmrun.models.encoders.image import Cnn
from mmrun.models.encoders.series import Rnn
from mmrun.models.encoders.tabular import Mlp
from mmrun.models.encoders.text import TextCnn
from mmrun.models.encoders.video import FrameEncoder
from mmrun.models.fusions.simple import Concat
from mmrun.models.multimodal import Multimodal
from mmrun.results.folder import RunFolder
from mmrun.run.data import Fitted
from mmrun.tasks.classification import Classification

NUM_ROWS = 96
RATE = 8000
WORDS = ["the", "small", "old", "grey", "new", "fine"]
KINDS = {"photo": "image", "note": "text", "sound": "audio", "facts": "tabular", "sensor": "series", "clip": "video"}
PREPROCESSORS: dict[str, Callable[[], Any]] = {
    "photo": lambda: Pixels(size=16),
    "note": lambda: Tokens(),
    "sound": lambda: Waveform(sample_rate=RATE, seconds=0.5),
    "facts": lambda: Cells(),
    "sensor": lambda: Steps(num_steps=30),
    "clip": lambda: Frames(num_frames=6, size=8),
}
ENCODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "photo": lambda data: Cnn(data["in_channels"], channels=(8, 8), kernels=(3, 3)),
    "note": lambda data: TextCnn(data["vocab_size"], data["pad_id"], embedding_dim=16, channels=8, kernels=(1, 2)),
    "sound": lambda data: LogMelCnn(RATE, dim=16, channels=(8, 8), kernels=(3, 3), n_mels=16),
    "facts": lambda data: Mlp(data["num_numeric"], data["cardinalities"], dims=(16,), dropout=0.0),
    "clip": lambda data: FrameEncoder(lambda: Cnn(data["in_channels"], (8, 8), (3, 3)), 6, temporal="mean"),
    "sensor": lambda data: Rnn(data["in_channels"], "gru", dim=16, dropout=0.0),
}


def make_value(modality, generator, label):
    """Return a raw value whose marked part shows the label: see `test_evidence.find_marked`; the rest is noise."""
    if modality == "photo":
        pixels = generator.integers(110, 130, (16, 16))
        stripes = np.where(np.arange(6) % 2 == 0, 60, -60) * np.ones((6, 1), dtype=int)
        pixels[1:7, 9:15] += stripes if label else stripes.T  # in the upper right quadrant
        return pixels.astype(np.uint8)[None]
    if modality == "note":
        words = list(generator.choice(WORDS, 5))
        return " ".join([*words[:3], ("barking", "purring")[label], *words[3:]])  # the fourth word
    if modality == "sound":
        samples = 1e-4 * generator.standard_normal(RATE // 2)
        samples[1600:2400] += 0.5 * np.sin(2 * np.pi * (600, 2000)[label] * np.arange(800) / RATE)  # 0.2 to 0.3 s
        return samples.astype(np.float32), RATE
    if modality == "facts":
        town = str(generator.choice(["here", "there"]))
        return {"age": float(generator.normal()), "weight": 3.0 * label + float(generator.normal()) / 4, "town": town}
    if modality == "clip":
        frames = generator.integers(110, 130, (6, 1, 8, 8))
        stripes = np.where(np.arange(8) % 2 == 0, 60, -60) * np.ones((8, 1), dtype=int)
        frames[3] += stripes if label else stripes.T  # the fourth frame
        return frames.astype(np.uint8)
    steps = generator.normal(size=(1, 30)) / 40
    steps[0, 12:18] += 2 * label - 1  # steps 12 to 17
    return steps.astype(np.float32)


@functools.cache
def train_on(carrier):
    """Return a predictor that learned the label from one modality, with a second one of noise, and its rows."""
    noise = "sensor" if carrier == "facts" else "facts"
    generator = np.random.default_rng(0)
    labels = np.arange(NUM_ROWS) % 2
    columns, preprocessors, encoders, stored = {}, {}, {}, {}
    torch.manual_seed(0)
    for modality in (carrier, noise):
        shown = labels if modality == carrier else generator.integers(0, 2, NUM_ROWS)
        values = [make_value(modality, generator, int(label)) for label in shown]
        columns[modality] = Column(KINDS[modality], values)
        preprocessors[modality] = PREPROCESSORS[modality]()
        preprocessors[modality].fit(columns[modality], np.arange(NUM_ROWS))
        encoders[modality] = ENCODERS[modality](preprocessors[modality].metadata)
        stored[modality] = open_lazily(columns[modality], preprocessors[modality])
    tasks = {"label": Classification("label", ["no", "yes"], np.array([48, 48]))}
    model = Multimodal(encoders, Concat({name: encoder.dim for name, encoder in encoders.items()}, dim=16), tasks)
    train(model, tasks["label"], Loader(stored, {"label": labels}, np.arange(NUM_ROWS), 32))
    modalities = {}
    for modality, column in stored.items():
        parts = {}
        for name, array in column.gather(torch.tensor([0])).items():
            parts[name] = {"shape": list(array.shape[1:]), "dtype": str(array.dtype).removeprefix("torch.")}
        modalities[modality] = {"kind": KINDS[modality], "columns": [modality], "state": {}, "parts": parts}
    predictor = Predictor(
        RunFolder("toy"),
        SimpleNamespace(trainer=SimpleNamespace(eval_batch_size=32)),
        Fitted({name: KINDS[name] for name in columns}, preprocessors, tasks),
        {"modalities": modalities, "tasks": {}, "formats": {}},
        model.eval(),
        SimpleNamespace(device=torch.device("cpu")),
        FUSED,
    )
    return predictor, Rows([str(row) for row in range(NUM_ROWS)], columns), labels


def train(model, task, loader):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.5)
    generator = torch.Generator().manual_seed(0)
    for step in range(100):
        batch = loader.batch(step)
        dropped = torch.randint(0, 6, (len(batch.index),), generator=generator)
        present = {name: dropped != number for number, name in enumerate(batch.present)}
        loss = task.loss(model(batch._replace(present=present))["label"], batch.targets["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def take(rows, numbers):
    """Return some rows."""
    columns = {}
    for name, column in rows.columns.items():
        columns[name] = Column(column.kind, [column.values[number] for number in numbers])
    return Rows([rows.ids[number] for number in numbers], columns)


def explain(carrier, method="integrated_gradients", numbers=range(12), target=None):
    """Return the explanations of some rows, and their labels."""
    predictor, rows, labels = train_on(carrier)
    explanations = Explainer(predictor, parse_target(predictor.tasks, target), method).explain(take(rows, numbers))
    return explanations, labels[list(numbers)]
