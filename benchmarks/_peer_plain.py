"""The tasks of benchmarks/peers.py as a plain PyTorch script: python _peer_plain.py TASK.json RESULT.json."""

import copy
import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from transformers import AutoModel, AutoTokenizer

SAMPLES = 8000  # of a sound: one second


class Rows(Dataset):
    """Decodes a row whenever it is read."""

    def __init__(self, task, rows):
        self.task, self.rows, self.folder = task, rows, Path(task["folder"])

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        row, pixels = self.rows[number], self.task["pixels"]
        colour = "L" if "audio" in self.task["columns"] else "RGB"
        image = Image.open(self.folder / row["image"]).convert(colour).resize((pixels, pixels))
        item = {"image": torch.from_numpy(np.array(image)).float().div(255).view(pixels, pixels, -1).permute(2, 0, 1)}
        if "audio" in self.task["columns"]:
            samples, _ = soundfile.read(self.folder / row["audio"], dtype="float32")
            item["audio"] = F.pad(torch.from_numpy(samples[:SAMPLES]), (0, max(0, SAMPLES - len(samples))))
        else:
            item["text"] = row["text"]
        return item, int(row["label"])


class Convolutions(nn.Sequential):
    def __init__(self, in_channels, channels=(8, 16, 32, 64)):
        layers = []
        for inputs, outputs in zip((in_channels, *channels), channels, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.audio, self.head = Convolutions(1), Convolutions(1), nn.Linear(128, 10)
        self.register_buffer("window", torch.hann_window(256))

    def forward(self, batch):
        spectrum = torch.stft(batch["audio"], 256, 128, window=self.window, return_complex=True).abs()
        audio = self.audio(spectrum.add(1e-5).log().unsqueeze(1))
        return self.head(torch.cat([self.image(batch["image"]), audio], 1))


class Titles(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.image = timm.create_model("tf_efficientnet_lite0")
        self.image.load_state_dict(load_file(task["image_weights"]))
        self.image.reset_classifier(0)
        self.text = AutoModel.from_pretrained(task["text_model"])
        self.tokenizer = AutoTokenizer.from_pretrained(task["text_model"])
        self.head = nn.Linear(self.image.num_features + self.text.config.hidden_size, 10)

    def forward(self, batch):
        tokens = self.tokenizer(batch["text"], padding=True, return_tensors="pt")
        hidden, mask = self.text(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
        image = self.image((batch["image"] - 0.5) / 0.5)
        return self.head(torch.cat([image, (hidden * mask).sum(1) / mask.sum(1)], 1))


@torch.no_grad()
def accuracy(model, batches):
    model.eval()
    right = [model(batch).argmax(1) == label for batch, label in batches]
    return torch.cat(right).float().mean().item()


def main():
    task_file, result_file = sys.argv[1:]
    task = json.loads(Path(task_file).read_text())
    torch.manual_seed(0)
    with open(task["manifest"], newline="") as file:
        table = list(csv.DictReader(file))
    parts = {split: Rows(task, [row for row in table if row["split"] == split]) for split in ("train", "val", "test")}
    train = DataLoader(parts["train"], task["batch_size"], shuffle=True)
    val, test = (DataLoader(parts[split], 256) for split in ("val", "test"))
    is_digits = task["name"] == "digits"
    model = Digits() if is_digits else Titles(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3 if is_digits else 1e-4)
    seconds, best, weights, epochs = 0.0, -1.0, None, 0
    while epochs < task["epochs"] and (task["accuracy"] is None or best < task["accuracy"]):
        began = time.perf_counter()
        model.train()
        for batch, label in train:
            F.cross_entropy(model(batch), label).backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds, epochs = seconds + time.perf_counter() - began, epochs + 1
        score = accuracy(model, val)
        if score >= best:
            best, weights = score, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    rate = len(parts["train"]) * epochs / seconds
    result = {"accuracy": accuracy(model, test), "samples_per_second": rate, "epochs": epochs}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
