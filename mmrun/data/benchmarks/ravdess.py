"""RAVDESS: acted emotions, speech and videos of 24 actors."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.data.benchmarks.videos import find_frame, has_frames, note_frames
from mmrun.errors import DataError

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
SOUND_ONLY, SPEECH = "03", "01"  # first and second part of a name
NAME = re.compile(r"[0-9]{2}(-[0-9]{2}){6}")
VIDEO_PREFIXES = ("01", "02")  # with and without sound


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each recording of speech."""
    sounds = _list_actor_files(source, "*.wav")
    if not sounds:
        source.require("Audio_Speech_Actors_01-24/Actor_01/*.wav", "Actor_01/*.wav")
    videos = _list_video_folders(source)
    if not videos:
        note_frames(source, ".mp4")
    for name in sounds:
        stem = PurePosixPath(name).stem
        parts = stem.split("-")
        if not NAME.fullmatch(stem) or parts[2] not in EMOTIONS or parts[3] not in INTENSITIES:
            raise DataError(f"{name}: is not named like 03-01-06-01-02-01-12.wav; remove or rename it")
        if parts[:2] != [SOUND_ONLY, SPEECH]:
            source.left_out["songs or sound tracks of videos"] += 1
            continue
        row: Row = {"id": stem, "audio": name}
        if videos:
            row["image"] = _find_video_frame(source, videos.get(parts[6], []), stem)
        row |= {"emotion": EMOTIONS[parts[2]], "speaker": parts[6], "intensity": INTENSITIES[parts[3]]}
        yield row | {"statement": parts[4], "sex": "male" if int(parts[6]) % 2 else "female"}


def _list_actor_files(source: Source, pattern: str) -> list[str]:
    names = []
    for folder in _list_actor_folders(source):
        names += source.list_files(folder, pattern)
    return names


def _list_actor_folders(source: Source) -> list[str]:
    """Return the folders Actor_01 ... of the source, and of what its archives were unpacked into."""
    folders = source.list_folders("", "Actor_*")
    for pattern in ("Audio_Speech_Actors_*", "Video_Speech_Actor_*"):
        for archive in source.list_folders("", pattern):
            folders += source.list_folders(archive, "Actor_*")
    return folders


def _list_video_folders(source: Source) -> dict[str, list[str]]:
    """Return the folders with frames, by actor."""
    folders: dict[str, list[str]] = {}
    for folder in _list_actor_folders(source):
        if has_frames(source, [folder]):
            folders.setdefault(folder.rpartition("_")[2], []).append(folder)
    return folders


def _find_video_frame(source: Source, folders: list[str], stem: str) -> str | None:
    """Return the frame of the video of a recording, which has the same name but for its first part."""
    remaining = stem.partition("-")[2]
    for folder in folders:
        for prefix in VIDEO_PREFIXES:
            frame = find_frame(source, folder, f"{prefix}-{remaining}")
            if frame is not None:
                return frame
    actor = remaining.rpartition("-")[2]
    return source.take_file("image", f"{folders[0] if folders else f'Actor_{actor}'}/01-{remaining}.jpg")


BENCHMARK = Benchmark(
    title="RAVDESS",
    paper="Livingstone and Russo, 2018",
    url="https://zenodo.org/records/1188976",
    size="1,440 recordings of speech of 24 actors; 0.2 GB of sound, 24.8 GB with songs and videos",
    license="CC BY-NC-SA 4.0",
    layout=(
        "Audio_Speech_Actors_01-24/Actor_12/03-01-06-01-02-01-12.wav (or Actor_12/...)",
        "Video_Speech_Actor_12/Actor_12/01-01-06-01-02-01-12.jpg (extracted from .mp4)",
    ),
    modalities={"audio": Modality("audio"), "image": Modality("image")},
    target="emotion",
    task="classification",
    group="speaker",
    split="no official one: mmrun draws 80/10/10 by speaker",
    metric="accuracy",
    num_rows=1440,
    read_rows=read_rows,
    caution="songs are left out: they lack two of the eight emotions",
)
