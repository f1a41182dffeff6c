"""CREMA-D: acted emotions, sounds and videos of 91 actors."""

import re
from collections.abc import Iterator

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source
from mmrun.data.benchmarks.videos import find_frame, has_frames, note_frames
from mmrun.errors import DataError

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")  # 1001_DFA_ANG_XX: actor, sentence, emotion, level
LFS_POINTER = b"version https://git-lfs"
FRAME_FOLDERS = ("VideoFlash", "Image-01-FPS")


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each clip that SentenceFilenames.csv lists; without this file, for each .wav."""
    source.require("AudioWAV")
    _check_pointers(source)
    frames = next((folder for folder in FRAME_FOLDERS if has_frames(source, [folder])), None)
    if frames is None:
        note_frames(source, ".flv")
    people = _read_people(source)
    for stem in _list_clips(source):
        match = NAME.fullmatch(stem)
        if match is None or match[3] not in EMOTIONS or match[4] not in LEVELS:
            raise DataError(f"AudioWAV/{stem}.wav: is not named ACTOR_SENTENCE_EMOTION_LEVEL.wav; remove or rename it")
        row: Row = {"id": stem, "audio": source.take_file("audio", f"AudioWAV/{stem}.wav")}
        if frames is not None:
            row["image"] = find_frame(source, frames, stem) or source.take_file("image", f"{frames}/{stem}.jpg")
        row |= {"emotion": EMOTIONS[match[3]], "speaker": match[1], "sentence": match[2], "level": LEVELS[match[4]]}
        yield row | people.get(match[1], dict.fromkeys(("age", "sex"), None))


def _check_pointers(source: Source) -> None:
    """Raise an error if git fetched pointers in place of the sounds."""
    for name in source.list_files("AudioWAV", "*.wav")[:1]:
        if source.read_start(name, len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(f"{source.folder}: AudioWAV holds pointers of git-lfs, not sounds; run git lfs pull there")


def _list_clips(source: Source) -> list[str]:
    listing = source.find("SentenceFilenames.csv")
    if listing is not None:
        return [row["Filename"] for row in source.read_table(listing, ["Filename"])]
    source.notes.append("without SentenceFilenames.csv, clips that are missing cannot be noticed")
    return [name.removeprefix("AudioWAV/").removesuffix(".wav") for name in source.list_files("AudioWAV", "*.wav")]


def _read_people(source: Source) -> dict[str, Row]:
    """Return age and sex by actor; empty if VideoDemographics.csv is not there."""
    name = source.find("VideoDemographics.csv")
    if name is None:
        return {}
    table = source.read_table(name, ["ActorID", "Age", "Sex"])
    return {row["ActorID"]: {"age": row["Age"], "sex": row["Sex"].lower()} for row in table}


BENCHMARK = Benchmark(
    title="CREMA-D",
    paper="Cao et al., 2014",
    url="https://github.com/CheyneyComputerScience/CREMA-D (needs git-lfs)",
    size="7,442 clips of 91 actors; 0.6 GB of sound, several GB with videos",
    license="Open Database License 1.0",
    layout=(
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "SentenceFilenames.csv",
        "VideoDemographics.csv",
        "VideoFlash/1001_DFA_ANG_XX.jpg (extracted from .flv; or Image-01-FPS/1001_DFA_ANG_XX/*.jpg)",
    ),
    modalities={"audio": Modality("audio"), "image": Modality("image")},
    target="emotion",
    task="classification",
    group="speaker",
    split="no official one: mmrun draws 80/10/10 by speaker",
    metric="accuracy",
    num_rows=7442,
    read_rows=read_rows,
)
