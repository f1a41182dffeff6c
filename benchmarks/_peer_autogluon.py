"""The titles of benchmarks/peers.py with AutoGluon, in its environment: python _peer_autogluon.py TASK RESULT."""

import json
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pandas as pd
from autogluon.multimodal import MultiModalPredictor


class Clock(pl.Callback):
    """Adds up the seconds of epochs, without the validation inside them; stops where the accuracy is reached."""

    def __init__(self):
        self.seconds, self.began, self.epochs, self.accuracy = 0.0, 0.0, 0, None

    def on_train_epoch_start(self, *_):
        self.began = time.perf_counter()

    def on_validation_start(self, trainer, _):
        if not trainer.sanity_checking:
            self.seconds += time.perf_counter() - self.began

    def on_validation_end(self, trainer, _):
        self.began = time.perf_counter()
        if trainer.sanity_checking:
            return
        self.epochs += 1
        if self.accuracy is not None and trainer.callback_metrics["val_accuracy"] >= self.accuracy:
            trainer.should_stop = True

    def on_train_epoch_end(self, *_):
        self.seconds += time.perf_counter() - self.began


CLOCK = Clock()


def add_clock(build_trainer):
    def build(self, *args, callbacks=(), **kwargs):
        build_trainer(self, *args, callbacks=[*(callbacks or ()), CLOCK], **kwargs)

    return build


pl.Trainer.__init__ = add_clock(pl.Trainer.__init__)


def main():
    task_file, result_file = sys.argv[1:]
    task = json.loads(Path(task_file).read_text())
    CLOCK.accuracy = task["accuracy"]
    table = pd.read_csv(task["manifest"])
    table["image"] = f"{task['folder']}/" + table["image"]
    train, val, test = (
        table[table["split"] == split][["image", "text", "label"]] for split in ("train", "val", "test")
    )
    folder = str(Path(result_file).parent / "autogluon")
    predictor = MultiModalPredictor(label="label", problem_type="multiclass", eval_metric="accuracy", path=folder)
    resize = ["resize_shorter_side", "center_crop"]
    predictor.fit(
        train,
        tuning_data=val,
        column_types={"image": "image_path", "text": "text"},
        hyperparameters={
            "model.names": ["timm_image", "hf_text", "fusion_mlp"],
            "model.timm_image.checkpoint_name": task["image_model"],
            "model.timm_image.image_size": task["pixels"],
            "model.timm_image.train_transforms": resize,
            "model.hf_text.checkpoint_name": task["text_model"],
            "model.hf_text.pooling_mode": "mean",
            "optim.max_epochs": task["epochs"],
            "optim.val_check_interval": 1.0,
            "optim.top_k": 1,
            "env.batch_size": task["batch_size"],
            "env.per_gpu_batch_size": task["batch_size"],
            "env.num_gpus": 0,
            "env.precision": "32",
        },
    )
    result = {
        "accuracy": float(predictor.evaluate(test)["accuracy"]),
        "samples_per_second": task["train_rows"] * CLOCK.epochs / CLOCK.seconds,
        "epochs": CLOCK.epochs,
    }
    Path(result_file).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
