"""Builds a tiny folder of each benchmark in its official layout."""

import csv
import gzip
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from PIL import Image

from mmrun.data.benchmarks.catalog import BENCHMARKS
from mmrun.data.benchmarks.mimic_cxr import FINDINGS, VITALS
from mmrun.data.benchmarks.source import Source

CAR = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
CYCLIST = "Cyclist 0.00 3 -2.46 665.45 160.00 717.93 217.99 1.72 0.47 1.65 2.45 1.35 22.10 -2.35\n"
IGNORED = "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n"


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_table(path: Path, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_sound(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 800).astype(np.float32), 8000)


def write_crema_d(folder: Path) -> None:
    """Six actors with two emotions each; frames extracted beside the videos."""
    stems = [f"{actor}_DFA_{emotion}_XX" for actor, emotion in product(range(1001, 1007), ("ANG", "HAP"))]
    for number, stem in enumerate(stems):
        write_sound(folder / "AudioWAV" / f"{stem}.wav", number)
        write_image(folder / "VideoFlash" / f"{stem}.jpg", number)
    write_table(folder / "SentenceFilenames.csv", [["Stimulus_Number", "Filename"], *enumerate(stems, start=1)])
    people = [[actor, 30, "Male", "Asian", "Not Hispanic"] for actor in range(1001, 1007)]
    write_table(folder / "VideoDemographics.csv", [["ActorID", "Age", "Sex", "Race", "Ethnicity"], *people])


def write_ravdess(folder: Path) -> None:
    """Four actors with three emotions each, and a song; frames of the videos."""
    for actor in range(1, 5):
        sounds = folder / "Audio_Speech_Actors_01-24" / f"Actor_{actor:02}"
        videos = folder / f"Video_Speech_Actor_{actor:02}" / f"Actor_{actor:02}"
        for emotion in (1, 4, 6):
            name = f"01-{emotion:02}-01-02-01-{actor:02}"
            write_sound(sounds / f"03-{name}.wav", actor * 10 + emotion)
            write_image(videos / f"01-{name}.jpg", actor * 10 + emotion)
    write_sound(folder / "Actor_01" / "03-02-06-01-02-01-01.wav", 0)


def write_meld(folder: Path) -> None:
    """Two dialogues of two utterances in each split."""
    header = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    header += ["Season", "Episode", "StartTime", "EndTime"]
    utterances = (("Oh, \u201cno\u201d!", "anger"), ("Fine.\nReally.", "neutral"))
    places = {
        "train": ("train/train_sent_emo.csv", "train/train_splits"),
        "dev": ("dev_sent_emo.csv", "dev/dev_splits_complete"),
        "test": ("test_sent_emo.csv", "test/output_repeated_splits_test"),
    }
    for part, (table, videos) in places.items():
        rows: list[list[object]] = [header]
        for dialogue in (0, 1):
            for utterance, (text, emotion) in enumerate(utterances):
                row = [len(rows), f"{part} {dialogue}: {text}", "Joey", emotion, "negative", dialogue, utterance]
                rows.append([*row, 1, 2, "00:00:01,000", "00:00:02,000"])
                stem = folder / videos / f"dia{dialogue}_utt{utterance}"
                write_sound(stem.with_suffix(".wav"), dialogue)
                write_image(stem.with_suffix(".jpg"), utterance)
        write_table(folder / table, rows)


def write_cmu_mosei(folder: Path) -> None:
    """Two clips of a video in each split; a name begins with a dash."""
    rows: list[list[object]] = [
        ["video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"]
    ]
    for video, mode in (("-3g5yACwYnA", "train"), ("4t7B1tvBd7c", "valid"), ("03bSnISJMiM", "test")):
        for clip, label in ((2, 1.0), (13, -0.6666667)):
            rows.append([video, clip, f"that movie was {clip}", label, "", "", "", "Positive", mode])
            write_sound(folder / "Raw" / video / f"{clip}.wav", clip)
    write_table(folder / "label.csv", rows)


def write_hateful_memes(folder: Path) -> None:
    """Four memes for training and two in each other part."""
    parts = {"train": (1235, 2, 3, 4), "dev_seen": (5, 6), "test_seen": (7, 8)}
    for part, numbers in parts.items():
        lines = []
        for number in numbers:
            name = f"{number:05}"
            fields = {"id": number, "img": f"img/{name}.png", "label": number % 2, "text": f"its their {name}"}
            lines.append(json.dumps(fields))
            write_image(folder / "img" / f"{name}.png", number)
        write_text(folder / f"{part}.jsonl", "\n".join(lines) + "\n")


def write_food_101(folder: Path) -> None:
    """Two dishes, with eight images for training and two for testing each; one image has no title."""
    for split, count in (("train", 8), ("test", 2)):
        rows: list[list[object]] = []
        for dish in ("apple_pie", "sushi"):
            for number in range(count):
                image = f"{dish}_{number}.jpg"
                rows.append([image, f"{dish}, recipe {number} | {split}", dish])
                write_image(folder / "images" / split / dish / image, number)
        write_table(folder / "texts" / f"{split}_titles.csv", rows)
    write_image(folder / "images" / "train" / "sushi" / "sushi_99.jpg", 99)


def write_mm_imdb(folder: Path) -> None:
    """Two films in each split; a seventh has none of the 23 genres."""
    splits = {"train": ["0000005", "0000008", "0000099"], "dev": ["0000010", "0000012"], "test": ["0092108", "0092109"]}
    for films in splits.values():
        for film in films:
            genres = ["News"] if film == "0000099" else ["Short", "Comedy"] if film < "0000010" else ["Comedy", "News"]
            fields = {"title": film, "genres": genres, "plot": ["A film.", f"A longer plot of {film}."]}
            write_text(folder / "dataset" / f"{film}.json", json.dumps(fields))
            write_image(folder / "dataset" / f"{film}.jpeg", int(film))
    write_text(folder / "split.json", json.dumps(splits))


def write_av_mnist(folder: Path) -> None:
    """24 digits for training, the last two of which validate, and 4 for testing."""
    (folder / "image").mkdir(parents=True)
    (folder / "audio").mkdir()
    for split, count in (("train", 24), ("test", 4)):
        generator = np.random.default_rng(count)
        labels = np.arange(count) % 2
        images = generator.random((count, 784)) * 100 + 100 * labels[:, None]
        np.save(folder / "image" / f"{split}_data.npy", images)
        np.save(folder / "audio" / f"{split}_data.npy", generator.integers(0, 256, (count, 112, 112), dtype=np.uint8))
        np.save(folder / f"{split}_labels.npy", labels)


def write_vqa_v2(folder: Path) -> None:
    """Twelve questions for training, of which eleven have the answers yes and no, and two for testing."""
    for part, numbers in (("train2014", range(9, 33)), ("val2014", range(42, 44))):
        questions, annotations = [], []
        for number in numbers:
            answer = "down" if number == 9 else ("yes", "no")[number % 2]
            ids = {"question_id": number * 1000, "image_id": number}
            questions.append({**ids, "question": f"Is it {number}?"})
            people = [{"answer": answer, "answer_confidence": "yes", "answer_id": place} for place in range(1, 11)]
            people[9]["answer"] = "maybe"
            kind = {"question_type": "is it", "answer_type": "yes/no"}
            annotations.append({**ids, **kind, "multiple_choice_answer": answer, "answers": people})
            write_image(folder / part / f"COCO_{part}_{number:012}.jpg", number)
        text = json.dumps({"info": {}, "questions": questions})
        write_text(folder / f"v2_OpenEnded_mscoco_{part}_questions.json", text)
        text = json.dumps({"info": {}, "annotations": annotations})
        write_text(folder / f"v2_mscoco_{part}_annotations.json", text)


def write_mimic_cxr(folder: Path) -> None:
    """Three patients with two studies, one patient in each split; the first study has two frontal images."""
    metadata: list[list[object]] = [
        ["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"]
    ]
    splits: list[list[object]] = [["dicom_id", "study_id", "subject_id", "split"]]
    labels: list[list[object]] = [["subject_id", "study_id", *FINDINGS]]
    stays: list[list[object]] = [["subject_id", "hadm_id", "stay_id", "intime", "outtime", "gender"]]
    triage: list[list[object]] = [["subject_id", "stay_id", *VITALS, "pain", "acuity", "chiefcomplaint"]]
    for patient, split in ((10000032, "train"), (10000764, "validate"), (11000001, "test")):
        group = folder / "files" / f"p{patient // 1000000}" / f"p{patient}"
        for study in (patient * 10, patient * 10 + 1):
            for view in ("AP", "PA", "LATERAL") if study == 100000320 else ("AP",):
                image = f"{study}-{view}"
                time = "93014.531" if study % 2 else "213014.531"
                metadata.append([image, patient, study, view, 2544, 3056, 21800506, time])
                splits.append([image, study, patient, split])
                write_image(group / f"s{study}" / f"{image}.jpg", study)
            cells = ["1.0" if name == "Edema" else "-1.0" if name == "Fracture" else "" for name in FINDINGS]
            labels.append([patient, study, *(cells if study % 2 == 0 else ["" for _ in FINDINGS])])
            report = f" EXAMINATION: CHEST\n\n INDICATION:  ___F with cough,\n  study {study}.\n\n FINDINGS: Edema.\n"
            write_text(group / f"s{study}.txt", report)
        stays.append([patient, "", patient + 5, "2180-05-06 19:17:00", "2180-05-06 23:30:00", "F"])
        triage.append([patient, patient + 5, 98.4, 70, 16, 97, 106, "", 0, 3, "Cough"])
    tables = {"metadata": metadata, "split": splits, "chexpert": labels}
    for name, rows in tables.items():
        write_table(folder / f"mimic-cxr-2.0.0-{name}.csv.gz", rows)
    write_table(folder / "ed" / "edstays.csv.gz", stays)
    write_table(folder / "ed" / "triage.csv.gz", triage)


def write_kitti(folder: Path) -> None:
    """Twelve frames of six drives; frame i is line 12 - i of the mapping."""
    labels = (CAR + IGNORED, CAR + CAR + CYCLIST, IGNORED)
    for number in range(12):
        frame = f"{number:06}"
        write_image(folder / "training" / "image_2" / f"{frame}.png", number)
        write_text(folder / "training" / "label_2" / f"{frame}.txt", labels[number % 3])
        write_text(folder / "training" / "calib" / f"{frame}.txt", "P0: 7.2e+02\n")
        write_text(folder / "training" / "velodyne" / f"{frame}.bin", f"{number:016}")  # a point
    lines = [f"2011_09_26 2011_09_26_drive_{line // 2:04}_sync {line:010}\n" for line in range(12)]
    write_text(folder / "mapping" / "train_mapping.txt", "".join(lines))
    write_text(folder / "mapping" / "train_rand.txt", ",".join(str(12 - number) for number in range(12)))


LAYOUTS = {
    "av_mnist": write_av_mnist,
    "cmu_mosei": write_cmu_mosei,
    "crema_d": write_crema_d,
    "food_101": write_food_101,
    "hateful_memes": write_hateful_memes,
    "kitti": write_kitti,
    "meld": write_meld,
    "mimic_cxr": write_mimic_cxr,
    "mm_imdb": write_mm_imdb,
    "ravdess": write_ravdess,
    "vqa_v2": write_vqa_v2,
}


class Rows(NamedTuple):
    """What a reader yields."""

    rows: list[dict[str, Any]]
    source: Source


def prepare(name: str, tmp_path: Path, change: Callable[[Path], object] | None = None, **options: bool) -> Rows:
    """Write a folder, change it, and read all its rows."""
    folder = tmp_path / name
    LAYOUTS[name](folder)
    if change is not None:
        change(folder)
    source = Source(folder, BENCHMARKS[name].title, **options)
    return Rows(list(BENCHMARKS[name].read_rows(source)), source)
