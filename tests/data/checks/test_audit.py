import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from mmrun.cli import main
from mmrun.data.checks.audit import audit
from mmrun.data.checks.finding import Finding
from mmrun.data.sources.digits import digits
from mmrun.data.sources.manifest import manifest
from mmrun.data.sources.synthetic import synthetic


@pytest.fixture
def folder(media):
    """Thirty rows that can all be used: an image, a recording, a sentence and two cells each."""
    rng = np.random.default_rng(0)
    lines = ["id,photo,voice,text,age,town,label,split"]
    for row in range(30):
        shutil.copy(media / "colour.png", media / f"{row}.png")
        with open(media / f"{row}.png", "ab") as file:
            file.write(bytes([row]))  # after the end of the image: no two files are equal
        soundfile.write(media / f"{row}.wav", rng.normal(0, 0.1, 800 + row), 8000)
        split = "train" if row < 10 else "val" if row < 20 else "test"
        lines.append(
            f"{row},{row}.png,{row}.wav,this is {row},{row * 7 % 30},{'ab'[row // 2 % 2]},{'xy'[row % 2]},{split}"
        )
    (media / "my.csv").write_text("\n".join(lines) + "\n")
    return media


PRESENT = {"train": 0.0, "val": 0.0, "test": 0.0}


def summarize(audited):
    """Return what is wrong, and where."""
    return [(finding.message, list(finding.where)) for finding in audited.findings]


def change(folder, line, old, new):
    lines = (folder / "my.csv").read_text().splitlines()
    lines[line - 1] = lines[line - 1].replace(old, new)
    (folder / "my.csv").write_text("\n".join(lines) + "\n")


def test_a_clean_data_set_has_no_warnings(folder):
    audited = audit(manifest(str(folder / "my.csv")))
    assert audited.findings == []
    assert audited.rows == {"train": 10, "val": 10, "test": 10}
    assert audited.modalities == {
        "photo": {
            "kind": "image",
            "missing": 0.0,
            "missing_by_split": PRESENT,
            "looked_at": 30,
            "width": {"least": 48, "median": 48.0, "most": 48},
            "height": {"least": 32, "median": 32.0, "most": 32},
            "modes": {"RGB": 30},
        },
        "voice": {
            "kind": "audio",
            "missing": 0.0,
            "missing_by_split": PRESENT,
            "looked_at": 30,
            "seconds": {"least": 0.1, "median": 0.1018125, "most": 0.103625},
            "rates": {8000: 30},
        },
        "text": {
            "kind": "text",
            "missing": 0.0,
            "missing_by_split": PRESENT,
            "looked_at": 30,
            "words": {"least": 3, "median": 3.0, "most": 3},
            "different": 30,
        },
        "tabular": {
            "kind": "tabular",
            "missing": 0.0,
            "missing_by_split": PRESENT,
            "looked_at": 30,
            "numeric": ["age"],
            "categories": {"town": 2},
        },
    }
    assert audited.targets == {
        "label": {
            "task": "classification",
            "hidden": 0,
            "counts": {split: {"x": 5, "y": 5} for split in ("train", "val", "test")},
        }
    }


def test_suspicious_rows_and_columns_are_warned_of(folder):
    shutil.copy(folder / "0.png", folder / "25.png")
    soundfile.write(folder / "3.wav", np.zeros(500), 8000)
    change(folder, 14, "this is 12", "this is 2")
    change(folder, 31, ",test", ",train")
    for line in range(2, 32):
        change(folder, line, ",a,", ",c,")
        change(folder, line, ",b,", ",c,")
    for line in range(2, 12):
        change(folder, line, ",y,train", ",x,train")
    change(folder, 31, ",y,", ",x,")
    columns = {"photo": "photo", "voice": "voice", "text": "text", "where": ["town", "age"]}
    assert summarize(audit(manifest(str(folder / "my.csv"), columns))) == [
        ("voice: silent recordings", ["my.csv:5: column 'voice'"]),
        ("where: column 'town' is the same in all training rows", []),
        ("photo: the same image as in a row of val or test", ["my.csv:2: column 'photo' equals my.csv:27"]),
        ("text: the same text as in a row of val or test", ["my.csv:4: column 'text' equals my.csv:14"]),
        ("test: 9 rows are too few for reliable metrics", []),
        ("label: no training row is 'y'", []),
    ]


def test_equal_rows_of_cells_and_series_are_warned_of(tmp_path):
    lines = ["age,size,pulse,label,split"]
    for row in range(60):
        lines.append(f'{row},{row * row},"[1, 2, {row}]",{row % 7 % 2},{"train" if row < 40 else "val"}')
    lines += ['7.0,49 ,"[1, 2, 9]",1,test', '99,98,"[9, 9, 1]",0,test']
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    assert summarize(audit(manifest(str(tmp_path / "my.csv"))))[:2] == [
        (
            "tabular: the same cells as in a row of val or test",
            ["my.csv:9: columns 'age', 'size' equals my.csv:62"],
        ),
        ("pulse: the same series as in a row of val or test", ["my.csv:11: column 'pulse' equals my.csv:62"]),
    ]


def test_points_of_other_columns_and_equal_clouds_are_warned_of(tmp_path):
    generator = np.random.default_rng(0)
    lines = ["lidar,label,split"]
    for row in range(8):
        np.save(tmp_path / f"{row}.npy", generator.normal(size=(9, 3 if row == 5 else 4)))
        lines.append(f"{row}.npy,{row % 2},{'train' if row < 6 else 'val'}")
    lines += ["2.npy,0,test", "nowhere/1.bin,1,test"]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    summary = summarize(audit(manifest(str(tmp_path / "my.csv"), on_error="skip")))
    assert ("lidar: points of different columns: x, y, z | x, y, z, feature_4", []) in summary
    assert any("my.csv:4" in place for _, places in summary for place in places)


def test_texts_that_repeat_by_nature_are_not_a_leak():
    assert summarize(audit(digits(), judges_labels=False)) == []
    assert summarize(audit(synthetic(100))) == []


def test_missing_modalities_and_hidden_targets(folder):
    for line in range(2, 20):
        change(folder, line, f"{line - 2}.wav", "")
    change(folder, 2, ",x,train", ",,train")
    audited = audit(manifest(str(folder / "my.csv")))
    assert summarize(audited) == [
        ("voice: missing in all training rows", []),
        ("label: fewer than 5 training rows are 'x' (4)", []),
    ]
    assert audited.findings[0].level == "error"
    assert audited.modalities["voice"]["missing"] == 0.6
    assert audited.targets["label"]["hidden"] == 1


def test_numbers_are_summarized_by_split(folder):
    audited = audit(manifest(str(folder / "my.csv"), {"photo": "photo"}, target="age"))
    assert audited.targets["age"]["numbers"]["val"] == {"least": 1.0, "median": 14.0, "most": 29.0}


def test_only_a_sample_is_decoded(folder):
    (folder / "29.png").write_bytes(b"no picture")
    assert audit(manifest(str(folder / "my.csv")), 2).modalities["photo"]["looked_at"] == 2
    assert audit(manifest(str(folder / "my.csv")), None).findings == [
        Finding(
            "unreadable",
            "photo: cells that cannot be read",
            "replace them, or set on_error=skip",
            "error",
            [29],
            ["my.csv:31: column 'photo': 29.png is damaged or not an image (UnidentifiedImageError)"],
        )
    ]


def check(folder, capsys, *overrides):
    code = main(["data", "check", str(folder / "my.csv"), *overrides])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_data_check_prints_what_a_file_holds(folder, capsys):
    code, printed, _ = check(folder, capsys)
    assert code == 0
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "30 rows: 10 train, 10 val, 10 test"
    assert "photo image photo file names 0.0%" in lines
    assert "photo width 48; height 32; modes RGB (30)" in lines
    assert "tabular tabular age, town numbers and categories 0.0%" in lines
    assert "tabular numeric age; categories town (2)" in lines
    assert "label: classification, 0 training rows without one" in lines
    assert "x 5 5 5" in lines


def test_data_check_lists_bad_rows_and_fails(folder, capsys):
    for row in range(10, 16):
        os.remove(folder / f"{row}.png")
        (folder / f"{row + 4}.wav").write_bytes(b"no sound")
    code, printed, _ = check(folder, capsys)
    assert code == 2
    assert (
        "  my.csv:12: column 'photo': '10.png' does not exist; correct the name, or set dataset.root=FOLDER\n"
        in printed
    )
    assert "10 bad rows:" in printed
    assert "  my.csv:18: column 'voice': 16.wav is damaged or not an audio file (LibsndfileError)\n" in printed
    assert check(folder, capsys, "on_error=skip")[0] == 0


def test_data_check_prints_the_first_bad_rows(folder, capsys):
    for row in range(25):
        os.remove(folder / f"{row}.png")
    code, printed, _ = check(folder, capsys)
    assert code == 2
    assert "  and 5 more (--format json lists all)\n" in printed
    code, printed, _ = check(folder, capsys, "--format", "json")
    assert code == 2
    [finding] = [finding for finding in json.loads(printed)["findings"] if finding["kind"] == "unreadable"]
    assert (finding["level"], finding["count"], len(finding["where"])) == ("error", 25, 25)


def test_data_check_takes_overrides_of_the_data_set(folder, capsys):
    code, printed, _ = check(folder, capsys, "columns.image=photo", "dataset.target=[label, town]", "--format", "json")
    assert code == 0
    audited = json.loads(printed)
    assert list(audited["modalities"]) == ["image"]
    assert audited["modalities"]["image"]["told_by"] == "modality name"
    assert list(audited["targets"]) == ["label", "town"]


def test_data_check_prints_how_to_train(folder, capsys):
    _, printed, _ = check(folder, capsys, "target=town")
    file = folder / "my.csv"
    assert printed.endswith(f"\nto train: mmrun train dataset={file} dataset.target=town\n")


def test_data_check_without_a_target_lists_the_columns(folder, capsys):
    change(folder, 1, "label", "final diagnosis")
    change(folder, 1, "town", "patient")
    for row in range(30):
        change(folder, row + 2, f",{'ab'[row // 2 % 2]},", f",p{row // 3},")
    code, printed, _ = check(folder, capsys)
    assert code == 0
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    file = folder / "my.csv"
    words = "'{}target=final diagnosis' {}group=patient"
    assert lines[0] == "no column is called 'label', so the target has to be named"
    assert "photo image file names 30 0.0% -" in lines
    assert "age tabular numbers 30 0.0% -" in lines
    assert "patient tabular categories 10 0.0% classification" in lines
    assert "final diagnosis tabular categories 2 0.0% classification" in lines
    assert lines[-6:] == [
        "likely targets: final diagnosis",
        "rows that may belong together, and then stay in one split: patient",
        "",
        f"to check: mmrun data check {file} {words.format('', '')}",
        "",
        f"to train: mmrun train dataset={file} {words.format('dataset.', 'dataset.')}",
    ]
    code, printed, _ = check(folder, capsys, "--format", "json")
    assert json.loads(printed)["targets"][0] == "final diagnosis"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "targt=label",
            "dataset.targt: mmrun.data.sources.manifest.manifest takes no such argument; did you mean 'target'?",
        ),
        ("label", "'label' is not of the form KEY=VALUE; write for example target=diagnosis"),
        (
            "target=lable",
            "dataset.target: my.csv has no column 'lable'; did you mean 'label'? "
            "(it has id, photo, voice, text, age, town, label, split)",
        ),
    ],
)
def test_data_check_rejects_wrong_overrides(folder, capsys, override, message):
    assert check(folder, capsys, override) == (2, "", f"mmrun: {message}\n")
