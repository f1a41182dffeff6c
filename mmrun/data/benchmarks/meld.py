"""MELD: emotions in dialogues of a television series."""

from collections.abc import Iterator
from typing import NamedTuple

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.data.benchmarks.videos import find_frame, has_frames, note_frames, require_sounds

COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")


class Part(NamedTuple):
    """Where a split lies.

    Attributes:
        split: in the manifest.
        tables: places of its CSV file.
        folders: places of its videos.
    """

    split: str
    tables: tuple[str, ...]
    folders: tuple[str, ...]


PARTS = (
    Part("train", ("train/train_sent_emo.csv", "train_sent_emo.csv"), ("train/train_splits", "train_splits")),
    Part("val", ("dev_sent_emo.csv", "dev/dev_sent_emo.csv"), ("dev/dev_splits_complete", "dev_splits_complete")),
    Part(
        "test",
        ("test_sent_emo.csv", "test/test_sent_emo.csv"),
        ("test/output_repeated_splits_test", "output_repeated_splits_test"),
    ),
)


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each utterance."""
    tables = [source.require(*part.tables) for part in PARTS]
    folders = [source.find(*part.folders) or part.folders[0] for part in PARTS]
    require_sounds(source, folders, ".mp4")
    with_frames = has_frames(source, folders)
    if not with_frames:
        note_frames(source, ".mp4")
    for part, table, folder in zip(PARTS, tables, folders, strict=True):
        for cells in source.read_table(table, COLUMNS):
            stem = f"dia{cells['Dialogue_ID']}_utt{cells['Utterance_ID']}"
            row: Row = {"id": f"{part.split}-{stem}", "text": cells["Utterance"]}
            row["audio"] = source.take_file("audio", f"{folder}/{stem}.wav")
            if with_frames:
                row["image"] = find_frame(source, folder, stem) or source.take_file("image", f"{folder}/{stem}.jpg")
            row |= {"emotion": cells["Emotion"], "sentiment": cells["Sentiment"], "speaker": cells["Speaker"]}
            yield row | {"dialogue": f"{part.split}-{cells['Dialogue_ID']}", "split": part.split}


BENCHMARK = Benchmark(
    title="MELD",
    paper="Poria et al., 2019",
    url="https://affective-meld.github.io (MELD.Raw.tar.gz)",
    size="13,708 utterances of 1,433 dialogues; about 11 GB",
    license="GPL 3.0 for the annotations; the videos belong to their owners",
    layout=(
        "train/train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv",
        "train/train_splits/dia0_utt0.wav and .jpg (extracted from .mp4)",
        "dev/dev_splits_complete/...",
        "test/output_repeated_splits_test/...",
    ),
    modalities={"text": Modality("text"), "audio": Modality("audio"), "image": Modality("image")},
    target="emotion",
    task="classification",
    group="dialogue",
    split="official",
    metric="weighted F1",
    num_rows=13708,
    read_rows=read_rows,
    caution="the official splits share speakers, the main cast; dialogues are in one split each. Two official videos "
    "are missing or damaged (dev dia110_utt7, train dia125_utt3): --allow-missing",
)
