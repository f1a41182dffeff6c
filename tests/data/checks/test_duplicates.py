"""Rows that repeat: which are reported, as what, and which one stays."""

import numpy as np
from PIL import Image

from mmrun.data.checks.audit import audit
from mmrun.data.sources.manifest import manifest

SENTENCE = "number {} of many long sentences that have nothing in common with {} others beside these few {} words"


def write_texts(folder, changed):
    """Write 40 different texts, and other lines in place of some of them."""
    lines = []
    for row in range(40):
        split = "train" if row < 20 else "val" if row < 30 else "test"
        words = np.random.default_rng(row).integers(1000, size=30)
        lines.append(f"{' '.join(f'w{word}' for word in words)},{'ab'[row % 2]},{split}")
    for row, line in changed(lines).items():
        lines[row] = line
    (folder / "my.csv").write_text("text,label,split\n" + "\n".join(lines) + "\n")
    return manifest(str(folder / "my.csv"))


def find(table):
    """Return the rows of each finding, by kind."""
    return {finding.kind: list(finding.rows) for finding in audit(table, judges_labels=False).findings}


def test_distinct_rows_are_not_reported(tmp_path):
    assert find(write_texts(tmp_path, lambda lines: {})) == {}


def test_the_later_row_of_a_split_is_a_duplicate(tmp_path):
    assert find(write_texts(tmp_path, lambda lines: {7: lines[4], 9: lines[4]})) == {"duplicates": [7, 9]}


def test_a_row_that_equals_one_of_a_later_split_is_a_leak(tmp_path):
    def change(lines):
        text, label, _ = lines[31].split(",")
        return {5: f"{text},{label},train", 8: f"{text},b,train", 25: f"{text},a,val"}

    assert find(write_texts(tmp_path, change)) == {"leaks": [5, 8, 25]}


def test_equal_inputs_with_different_targets_are_a_conflict(tmp_path):
    assert find(write_texts(tmp_path, lambda lines: {6: lines[4].replace(",a,", ",b,")})) == {"conflicts": [4, 6]}


def test_a_row_without_a_target_is_a_duplicate_of_one_with(tmp_path):
    assert find(write_texts(tmp_path, lambda lines: {3: lines[4].replace(",a,", ",,")})) == {"duplicates": [3]}


def test_a_copy_with_a_changed_word_is_a_near_duplicate(tmp_path):
    def change(lines):
        words = lines[31].split(" ")
        return {5: f"changed {' '.join(words[1:])}".replace(",test", ",train")}

    table = write_texts(tmp_path, change)
    assert find(table) == {"near-duplicates": [5]}
    [finding] = audit(table, judges_labels=False).findings
    assert finding.message == "rows that resemble another one, 1 of them one of another split"
    assert finding.where == ["my.csv:7 resembles my.csv:33"]


def test_rows_that_repeat_by_nature_are_noted(tmp_path):
    lines = [f"{row % 2},{row % 3},{'ab'[row % 2]}" for row in range(60)]
    (tmp_path / "my.csv").write_text("x,y,label\n" + "\n".join(lines) + "\n")
    audited = audit(manifest(str(tmp_path / "my.csv")), judges_labels=False)
    assert {finding.kind for finding in audited.findings} == {"giveaway", "split"}
    note = "tabular: rows have the same cells about as often as by chance, so this is not reported"
    assert note in audited.notes


def test_resized_and_recompressed_images_are_near_duplicates(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for row in range(30):
        pixels = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        image = Image.fromarray(pixels).resize((60, 60), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"{row}.png")
        if row == 29:
            image.resize((45, 45)).save(tmp_path / "3.jpg", quality=50)
        split = "train" if row < 10 else "val" if row < 20 else "test"
        lines.append(f"{row}.{'jpg' if row == 3 else 'png'},{'ab'[row % 2]},{split}")
    (tmp_path / "my.csv").write_text("photo,label,split\n" + "\n".join(lines) + "\n")
    assert find(manifest(str(tmp_path / "my.csv"))) == {"near-duplicates": [3]}


def test_an_image_of_two_splits_is_reported_though_other_modalities_differ(tmp_path):
    rng = np.random.default_rng(0)
    lines = []
    for row in range(30):
        Image.fromarray(rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(tmp_path / f"{row}.png")
        split = "train" if row < 10 else "val" if row < 20 else "test"
        lines.append(f"{25 if row == 2 else row}.png,{row}.5,{'ab'[row % 2]},{split}")
    (tmp_path / "my.csv").write_text("photo,age,label,split\n" + "\n".join(lines) + "\n")
    assert find(manifest(str(tmp_path / "my.csv"))) == {"shared": [2]}


def test_rows_of_several_files_are_named_by_their_file(tmp_path):
    (tmp_path / "data").mkdir()
    for split, rows in (("test", range(12)), ("train", range(11, 30))):
        lines = [f"{SENTENCE.format(row, row * 7, row * 31)},{'ab'[row % 2]}\n" for row in rows]
        (tmp_path / "data" / f"{split}.csv").write_text("text,label\n" + "".join(lines))
    [leak] = [finding for finding in audit(manifest(str(tmp_path / "data"))).findings if finding.kind == "leaks"]
    assert leak.where == ["train.csv:2"]
