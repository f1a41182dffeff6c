"""Rows of many lengths: samples/s padded to one width, cropped to each batch's longest row, and grouped by length.

    scripts/bench length_groups [--encoder transformer] [--pictures] [--rows 1920] [--batch-size 32] [--rounds 7]

Texts are words, log-normal in number: 5 to 128 tokens, padded to 128. With --pictures they are titles of 3 to 12
tokens, padded to 32, read by a random BERT of MiniLM's size, beside pictures of 64 pixels read by
tf_efficientnet_lite0. The sides take turns within one process, an epoch each, so that every length counts as often on
all of them.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _training import open_stage, train_steps
from PIL import Image

from mmrun import compose
from mmrun.data.loader import Loader
from mmrun.run.session import Session
from mmrun.training.built_stage import BuiltStage
from mmrun.training.state import TrainState

MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
TITLES = (3, 12, 32)  # tokens, the marks at both ends included: shortest, longest, and padded to
TEXTS = (5, 128, 128)
MEDIAN, SPREAD = 32, 0.7  # tokens of a text, and the deviation of their logarithm
PIXELS = 64
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1920)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--encoder", default="transformer")
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lengths = TITLES if args.pictures else TEXTS
        write(folder, args.rows, lengths, args.pictures)
        encoders = [f"encoder.text={args.encoder}"]
        if args.pictures:
            save_minilm(folder / "minilm")
            encoders = ["encoder.text=hf", f"encoder.text.model={folder}/minilm", "encoder.text.pretrained=false"]
            encoders += ["encoder.image=efficientnet_lite", "encoder.image.pretrained=false"]
            encoders += [f"encoder.image.preprocess.size={PIXELS}"]
        overrides = [
            *("dataset=manifest", f"dataset.path={folder}/table.csv", f"cache={folder}/cache", "trainer.device=cpu"),
            *(*encoders, f"encoder.text.preprocess.max_tokens={lengths[2]}", "fusion=concat"),
            *(f"trainer.batch_size={args.batch_size}", "trainer.save_every=1e9"),
        ]
        session, built = open_stage(compose.load(overrides), folder / "run")
        sides = {
            "padded": build_loader(session, built, [], is_grouped=False),
            "cropped": build_loader(session, built, ["text"], is_grouped=False),
            "grouped": build_loader(session, built, ["text"], is_grouped=True),
        }
        steps = args.rows // args.batch_size
        for name, loader in sides.items():
            widths = [loader.batch(step).inputs["text"]["ids"].shape[1] for step in range(1, steps)]
            print(f"{name}: batches of {np.mean(widths):.0f} tokens on average, {min(widths)} to {max(widths)}")
        compare(session, built, sides, steps, args.rounds)
    return 0


def compare(session: Session, built: BuiltStage, sides: dict[str, Loader], steps: int, rounds: int) -> None:
    """Print samples/s of each side in every round, and the medians of the ratios to the first side."""
    states = {name: TrainState() for name in sides}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):  # the first warms up
        for name, loader in sides.items():
            began = time.perf_counter()
            train_steps(session, built, states[name], steps, loader)
            if number:
                rates[name].append(steps * built.batch_size / (time.perf_counter() - began))
        if number:
            print("  ".join(f"{name} {speeds[-1]:.1f}" for name, speeds in rates.items()) + " samples/s", flush=True)
    padded, *others = rates
    for name in others:
        ratio = np.median(np.divide(rates[name], rates[padded]))
        print(f"{name} over {padded}: median x {ratio:.2f} (load {os.getloadavg()[0]:.1f})")


def build_loader(session: Session, built: BuiltStage, cropped: list[str], is_grouped: bool) -> Loader:
    targets = {name: target.values for name, target in session.data.table.targets.items()}
    rows = built.batches.rows
    return Loader(session.columns, targets, rows, built.batch_size, cropped=cropped, group_by_length=is_grouped)


def write(folder: Path, rows: int, lengths: tuple[int, int, int], with_pictures: bool) -> None:
    """Write the texts and pictures; each word is one token when the vocabulary is learned."""
    draw = np.random.default_rng(0)
    shortest, longest, _ = lengths
    lines = ["text,split,label" + (",image" if with_pictures else "")]
    for row in range(rows + 128):
        tokens = draw.integers(shortest, longest + 1) if with_pictures else draw.lognormal(np.log(MEDIAN), SPREAD)
        text = " ".join(draw.choice(VOCABULARY, np.clip(int(tokens), shortest, longest) - 2))
        cells = [text, "train" if row < rows else "val" if row % 2 else "test", "ab"[row // 2 % 2]]
        if with_pictures:
            cells.append(f"{row}.png")
            Image.fromarray(draw.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8)).save(folder / cells[-1])
        lines.append(",".join(cells))
    (folder / "table.csv").write_text("\n".join(lines) + "\n")


def save_minilm(folder: Path) -> None:
    """Save config and tokenizer of a BERT of MiniLM's size; each word is one token."""
    from transformers import BertConfig, BertTokenizerFast

    folder.mkdir()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *VOCABULARY]) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(vocab_size=30522, **MINILM).save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
