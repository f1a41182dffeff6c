"""MIMIC-CXR-JPG: the rows of a tiny folder of its layout, and what is wrong with others."""

import shutil

import pytest

from mmrun.data.benchmarks.mimic_cxr import VITALS, read_indication
from mmrun.errors import DataError
from tests.data.benchmarks.layouts import prepare


def test_rows(tmp_path):
    rows = prepare("mimic_cxr", tmp_path).rows
    assert [row["split"] for row in rows] == ["train", "train", "val", "val", "test", "test"]
    assert rows[0] == {
        "id": "s100000320",
        "image": "files/p10/p10000032/s100000320/100000320-PA.jpg",
        "indication": "___F with cough, study 100000320.",
        "report": "files/p10/p10000032/s100000320.txt",
        "temperature": "98.4",
        "heartrate": "70",
        "resprate": "16",
        "o2sat": "97",
        "sbp": "106",
        "dbp": None,
        "findings": "Edema",
        "patient": "10000032",
        "split": "train",
    }


def test_a_study_outside_of_any_stay_has_no_vitals(tmp_path):
    row = prepare("mimic_cxr", tmp_path).rows[1]
    assert [row[name] for name in VITALS] == [None] * 6
    assert row["findings"] == "|"


def test_without_the_emergency_department_there_are_no_vitals(tmp_path):
    prepared = prepare("mimic_cxr", tmp_path, lambda folder: shutil.rmtree(folder / "ed"))
    assert "temperature" not in prepared.rows[0]
    assert prepared.source.notes == [
        "ed/edstays.csv.gz and ed/triage.csv.gz (MIMIC-IV-ED) are not there: no vitals",
    ]


@pytest.mark.parametrize(
    ("report", "indication"),
    [
        (" HISTORY:  Cough and\n   fever.\n\n FINDINGS: None.", "Cough and fever."),
        ("REASON FOR EXAMINATION: Pain", "Pain"),
        ("FINDINGS: No history: none.", None),
        ("INDICATION:\n\nFINDINGS: Clear.", None),
    ],
)
def test_the_indication_of_a_report(report, indication):
    assert read_indication(report) == indication


def test_a_truncated_table_is_refused(tmp_path):
    def truncate(folder):
        table = folder / "mimic-cxr-2.0.0-split.csv.gz"
        table.write_bytes(table.read_bytes()[:40])

    with pytest.raises(DataError, match=r"mimic-cxr-2.0.0-split.csv.gz: cannot be read \(.*\); get the file again"):
        prepare("mimic_cxr", tmp_path, truncate)
