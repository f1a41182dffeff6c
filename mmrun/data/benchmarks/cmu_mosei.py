"""CMU-MOSEI: sentiment of opinions in videos, in the layout with one label.csv."""

from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.data.benchmarks.videos import find_frame, has_frames, note_frames, require_sounds
from mmrun.errors import DataError

COLUMNS = ("video_id", "clip_id", "text", "label", "mode")
SPLITS = {"train": "train", "valid": "val", "test": "test"}


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each clip."""
    table = source.require("label.csv")
    source.require("Raw")
    videos = source.list_folders("Raw")
    require_sounds(source, videos, ".mp4")
    with_frames = has_frames(source, videos)
    if not with_frames:
        note_frames(source, ".mp4")
    for number, cells in enumerate(source.read_table(table, COLUMNS), start=2):
        if cells["mode"] not in SPLITS:
            raise DataError(f"{table}:{number}: mode is '{cells['mode']}', not train, valid or test")
        folder, clip = f"Raw/{cells['video_id']}", cells["clip_id"]
        row: Row = {"id": f"{cells['video_id']}-{clip}", "text": cells["text"]}
        row["audio"] = source.take_file("audio", f"{folder}/{clip}.wav")
        if with_frames:
            row["image"] = find_frame(source, folder, clip) or source.take_file("image", f"{folder}/{clip}.jpg")
        yield row | {"sentiment": cells["label"], "video": cells["video_id"], "split": SPLITS[cells["mode"]]}


BENCHMARK = Benchmark(
    title="CMU-MOSEI",
    paper="Zadeh et al., 2018",
    url="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset; with label.csv: https://github.com/thuiar/MMSA",
    size="22,856 clips of 3,228 videos",
    license="for research; the videos belong to their owners",
    layout=("label.csv (video_id, clip_id, text, label, mode)", "Raw/VIDEO/CLIP.wav and .jpg (extracted from .mp4)"),
    modalities={"text": Modality("text"), "audio": Modality("audio"), "image": Modality("image")},
    target="sentiment",
    task="regression",
    group="video",
    split="official",
    metric="mean absolute error and correlation; accuracy of 2 and 7 classes",
    num_rows=22856,
    read_rows=read_rows,
    caution="a speaker may be in several videos: the release does not name speakers",
)
