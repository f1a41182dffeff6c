"""Hateful Memes: images with texts that are hateful only together."""

from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source

FIELDS = ("id", "img", "text")
FILES = {
    "train": ("train.jsonl",),
    "val": ("dev_seen.jsonl", "dev.jsonl"),
    "test": ("test_seen.jsonl", "test.jsonl"),
}


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each meme that has a label."""
    names = {split: source.require(*candidates) for split, candidates in FILES.items()}
    source.require("img")
    for split, name in names.items():
        for fields in source.read_json_lines(name, FIELDS):
            if fields.get("label") is None:
                source.left_out[f"{name} has no labels"] += 1
                continue
            image = source.take_file("image", str(fields["img"]))
            row: Row = {"id": str(fields["id"]), "image": image, "text": str(fields["text"])}
            yield row | {"label": str(fields["label"]), "split": split}


BENCHMARK = Benchmark(
    title="Hateful Memes",
    paper="Kiela et al., 2020",
    url="https://ai.meta.com/tools/hatefulmemes",
    size="10,000 memes; about 4 GB",
    license="Hateful Memes Dataset License: for research, no redistribution",
    layout=("train.jsonl", "dev_seen.jsonl (or dev.jsonl)", "test_seen.jsonl (or test.jsonl)", "img/42953.png"),
    modalities={"image": Modality("image"), "text": Modality("text")},
    target="label",
    task="classification",
    group=None,
    split="official: seen development and test sets; the unseen ones are not read",
    metric="AUROC",
    num_rows=10000,
    read_rows=read_rows,
)
