"""The digits of benchmarks/peers.py with Ludwig, in its environment: python _peer_ludwig.py TASK RESULT."""

import json
import logging
import sys
import time
from pathlib import Path

import pandas as pd
import soundfile
import torch
import torchaudio


def load_with_soundfile(file, **_):
    """Stand in for torchaudio.load, which needs a decoder that Ludwig does not bring."""
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


torchaudio.load = load_with_soundfile

from ludwig.api import LudwigModel  # noqa: E402
from ludwig.callbacks import Callback  # noqa: E402


class Clock(Callback):
    """Adds up the seconds of training steps; stops where the accuracy is reached."""

    def __init__(self, accuracy):
        self.seconds, self.steps, self.epochs, self.began, self.accuracy = 0.0, 0, 0, 0.0, accuracy

    def on_batch_start(self, *_, **__):
        self.began = time.perf_counter()

    def on_batch_end(self, *_, **__):
        self.seconds += time.perf_counter() - self.began
        self.steps += 1

    def should_early_stop(self, trainer, progress_tracker, is_coordinator):
        accuracies = progress_tracker.validation_metrics["label"]["accuracy"]
        self.epochs = len(accuracies)
        return self.accuracy is not None and accuracies[-1].value >= self.accuracy


def main():
    task_file, result_file = sys.argv[1:]
    task = json.loads(Path(task_file).read_text())
    table = pd.read_csv(task["manifest"])
    for column in task["columns"]:
        table[column] = f"{task['folder']}/" + table[column]
    table["split"] = table["split"].map({"train": 0, "val": 1, "test": 2})
    config = {
        "input_features": [
            {"name": "image", "type": "image", "encoder": {"type": "stacked_cnn"}},
            {"name": "audio", "type": "audio", "preprocessing": {"audio_file_length_limit_in_s": 1.0, "type": "fbank"}},
        ],
        "output_features": [{"name": "label", "type": "category"}],
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "trainer": {"epochs": task["epochs"], "batch_size": task["batch_size"], "early_stop": -1},
        "backend": {"type": "local"},
    }
    clock = Clock(task["accuracy"])
    model = LudwigModel(config, logging_level=logging.ERROR, callbacks=[clock])
    model.train(
        dataset=table, output_directory=str(Path(result_file).parent / "ludwig"), skip_save_processed_input=True
    )
    test = table[table["split"] == 2]
    predictions, _ = model.predict(dataset=test)
    accuracy = (predictions["label_predictions"].astype(str).to_numpy() == test["label"].astype(str).to_numpy()).mean()
    rate = clock.steps * task["batch_size"] / clock.seconds
    result = {"accuracy": float(accuracy), "samples_per_second": rate, "epochs": clock.epochs}
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
