"""A file of things: a picture, a sound, a note, and a table say which of two classes each one is."""

import csv
import io
import json

import numpy as np
import soundfile
from PIL import Image

COLUMNS = ["photo", "sound", "note", "weight", "city", "pulse", "split", "label"]
WORDS = [
    *("dataset=manifest", "dataset.path=things.csv", "dataset.target=label"),
    "dataset.columns={photo:photo,sound:sound,note:note,body:[weight,city],pulse:pulse}",
    "dataset.kinds={photo:image,sound:audio,note:text,body:tabular,pulse:series}",
    *("encoder.photo=lenet", "encoder.photo.preprocess.size=32", "encoder.sound.preprocess.sample_rate=8000"),
    *("budget.epochs=2", "trainer.progress=false"),
]
PAIRS = [
    *("dataset=manifest", "dataset.path=pairs.csv", "dataset.target=label"),
    "dataset.columns={photo:photo,body:[city]}",
    *("encoder.photo=lenet", "encoder.photo.preprocess.size=32", "encoder.body.preprocess.encode=one_hot"),
    *("budget.epochs=1", "trainer.progress=false"),
]
RATE = 8000


def draw_photo(label, size=32):
    """Return a PNG: a bright square on the left or on the right."""
    pixels = np.full((size, size, 3), 40, dtype=np.uint8)
    left = size // 8 if label == 0 else size * 5 // 8
    pixels[size // 4 : size * 3 // 4, left : left + size // 4] = (230, 120, 40)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def play_sound(label, seconds=0.5):
    """Return a WAV: a low or a high tone."""
    times = np.arange(int(RATE * seconds)) / RATE
    stream = io.BytesIO()
    soundfile.write(stream, 0.4 * np.sin(2 * np.pi * (300, 1500)[label] * times), RATE, format="WAV")
    return stream.getvalue()


def write_things(folder, number=48):
    for label in (0, 1):
        (folder / f"{label}.png").write_bytes(draw_photo(label))
        (folder / f"{label}.wav").write_bytes(play_sound(label))
    with (folder / "things.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for row in range(number):
            label = row // 4 % 2
            pulse = np.round(np.sin(np.arange(20) * (0.3 + 0.5 * label)), 3).tolist()
            split = ("train", "train", "val", "test")[row % 4]
            note = f"a {('small', 'large')[label]} thing"
            cells = [f"{label}.png", f"{label}.wav", note, 10 + 20 * label + row % 5, ("Rome", "Oslo")[label]]
            writer.writerow([*cells, json.dumps(pulse), split, ("cup", "box")[label]])


def write_pairs(folder, number=24):
    """Write rows of one or two pictures and a city."""
    for label in (0, 1):
        (folder / f"{label}.png").write_bytes(draw_photo(label))
    lines = ["photo,city,split,label"]
    for row in range(number):
        label = row // 4 % 2
        photos = "|".join([f"{label}.png"] * (1 + row % 2))
        split = ("train", "train", "val", "test")[row % 4]
        lines.append(f"{photos},{('Rome', 'Oslo')[label]},{split},{('cup', 'box')[label]}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
