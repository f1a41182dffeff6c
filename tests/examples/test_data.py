"""What the examples' data hold, so that their conclusions follow."""

import csv
import json
from collections import defaultdict
from datetime import datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest

from mmrun.cli import main
from mmrun.data.preprocess.wfdb_records import read_record
from tests.shown_commands import ROOT


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a script of an example, which then writes below a folder of the test."""

    def load_script(example, script="make_data"):
        spec = spec_from_file_location(script, ROOT / "examples" / example / f"{script}.py")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "FOLDER", tmp_path / "data")
        return module

    return load_script


def read_rows(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_sentiment_has_missing_files_and_speakers_with_a_favourite(load, tmp_path, monkeypatch):
    load("sentiment").main()
    monkeypatch.chdir(tmp_path)
    assert main(["data", "prepare", "meld", "--source", "data", "--allow-missing", "-o", "meld.csv"]) == 0
    rows = read_rows("meld.csv")
    assert len(rows) == 1000
    assert np.mean([row["audio"] == "" for row in rows]) == pytest.approx(0.2, abs=0.05)
    assert np.mean([row["image"] == "" for row in rows]) == pytest.approx(0.4, abs=0.05)
    favourite = [["negative", "neutral", "positive"][int(row["speaker"].split()[1]) % 3] for row in rows]
    share = np.mean([row["sentiment"] == name for row, name in zip(rows, favourite, strict=True)])
    assert share == pytest.approx(0.6 + 0.4 / 3, abs=0.05)


def test_a_patient_keeps_age_and_sex_and_the_ecg_is_read_in_millivolts(load, tmp_path):
    load("medical").main()
    rows, people = read_rows(tmp_path / "data" / "visits.csv"), defaultdict(set)
    for row in rows:
        people[row["patient_id"]].add((row["age"], row["sex"]))
    assert len(people) == 400
    assert {len(person) for person in people.values()} == {1}
    assert np.mean([row["diagnosis"] == "infarct" for row in rows]) == pytest.approx(0.2, abs=0.05)
    signal = read_record(tmp_path / "data" / rows[0]["ecg"])
    assert signal.shape == (200, 1)
    assert 0.5 < signal.max() < 2  # the R wave


def test_a_question_alone_is_answered_rightly_half_of_the_time(load, tmp_path):
    load("questions").main()
    package = tmp_path / "data" / "package" / "train"
    questions = json.loads((package / "questions.json").read_text())
    assert len(questions) == 4 * 300
    answers = defaultdict(list)
    for question, answer, _ in questions:
        answers[question].append(answer)
    best = sum(max(map(given.count, set(given))) for given in answers.values()) / len(questions)
    assert best == pytest.approx((1 / 3 + 1 / 4 + 2 / 3 + 3 / 4) / 4, abs=0.05)


def write_stream(folder, seconds):
    start = datetime(2011, 9, 26)
    folder.mkdir(parents=True)
    lines = [(start + timedelta(seconds=second)).isoformat(sep=" ") for second in seconds]
    (folder / "timestamps.txt").write_text("\n".join(lines))


def test_frames_are_paired_by_time_within_the_tolerance_or_by_number(load, tmp_path):
    drive = tmp_path / "drive"
    write_stream(drive / "image_02", [0.5, 1.5, 2.5])
    write_stream(drive / "velodyne_points", [1.4, 1.8, 2.6])
    write_stream(drive / "radar", [0.3, 0.6, 1.2, 2.6])
    (drive / "objects.csv").write_text("from,object\n2011-09-26 00:00:00,Car\n2011-09-26 00:00:02,Tram\n")
    pair = load("driving", "make_manifest").pair

    def numbers(rows, sensor):
        return [row[sensor][-5:-4] for row in rows]

    rows = pair(drive, by_time=True)
    assert [row["object"] for row in rows] == ["Car", "Car", "Tram"]
    assert numbers(rows, "lidar") == ["", "0", "2"]
    assert numbers(rows, "radar") == ["1", "", "3"]
    rows = pair(drive, by_time=False)
    assert numbers(rows, "lidar") == numbers(rows, "radar") == ["0", "1", "2"]
