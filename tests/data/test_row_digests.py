"""Which rows of a data set have changed."""

import struct
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from mmrun.data.file_digests import FileDigests
from mmrun.data.packed import PackedValues, Records
from mmrun.data.row_digests import describe_changes, record_data
from mmrun.data.sources.manifest import manifest
from mmrun.data.table import Column, Table

HEADER = "photo,words,age,size,label,split\n"


def row_of(number):
    split = "val" if number % 5 == 3 else "test" if number % 5 == 4 else "train"
    return f"img/{number}.png,text {number},{number},{number * 2},{'cat' if number % 2 else 'dog'},{split}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "img").mkdir()
    for number in range(20):
        Image.fromarray(np.full((4, 4), number, dtype=np.uint8)).save(tmp_path / "img" / f"{number}.png")
    write(tmp_path, [row_of(number) for number in range(20)])
    return tmp_path


def write(folder, lines):
    (folder / "my.csv").write_text(HEADER + "\n".join(lines) + "\n")


def record(folder):
    table = manifest(str(folder / "my.csv"))
    return record_data(table, FileDigests()), table


def changes(folder, lines):
    before, _ = record(folder)
    write(folder, lines)
    after, table = record(folder)
    assert after.fingerprint != before.fingerprint
    return describe_changes(before, after, table)


def edited(number, old, new):
    lines = [row_of(row) for row in range(20)]
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new)
    return lines


def test_a_digest_of_every_part_of_every_row(folder):
    before, table = record(folder)
    assert before.fingerprint == table.fingerprint
    assert sorted(before.rows) == ["cells.tabular", "input.photo", "input.words", "split", "target.label"]
    assert all(rows.shape == (20,) and rows.dtype == np.uint32 for rows in before.rows.values())
    assert len(set(before.rows["input.photo"].tolist())) == 20
    assert len(set(before.rows["target.label"].tolist())) == 2


@pytest.mark.parametrize(
    ("number", "old", "new", "expected"),
    [
        (3, ",cat,", ",dog,", "label of 1 row changed, first my.csv:5"),
        (4, "text 4", "words", "words of 1 row changed, first my.csv:6"),
        (5, ",5,10,", ",5,11,", "tabular of 1 row changed, first my.csv:7"),
        (6, "img/6.png", "img/7.png", "photo of 1 row changed, first img/7.png"),
        (7, ",train", ",val", "split of 1 row changed, first my.csv:9"),
    ],
)
def test_a_changed_cell_is_named(folder, number, old, new, expected):
    assert changes(folder, edited(number, old, new)) == expected


def test_swapped_labels_are_counted_before_all_else(folder):
    lines = [line.replace("cat", "?").replace("dog", "cat").replace("?", "dog") for line in edited(9, "text 9", "9")]
    assert changes(folder, lines) == "label of 20 rows, words of 1 row changed, first my.csv:2, my.csv:11"


def test_a_file_rewritten_with_equal_size_is_named(folder):
    before, table = record(folder)
    content = bytearray((folder / "img/8.png").read_bytes())
    content[-1] ^= 1
    (folder / "img/8.png").write_bytes(content)
    after, again = record(folder)
    assert after.fingerprint != before.fingerprint
    assert again.old_fingerprint == table.old_fingerprint
    assert describe_changes(before, after, again) == "photo of 1 row changed, first img/8.png"


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (slice(0, 19), "it had 20 rows and has 19, the first that differs is after the last row"),
        (slice(4, 20), "it had 20 rows and has 16, the first that differs is my.csv:2"),
    ],
)
def test_rows_that_were_removed_are_counted(folder, kept, expected):
    assert changes(folder, [row_of(number) for number in range(20)][kept]) == expected


def test_a_column_that_no_run_reads_is_no_change_of_a_row(folder):
    before, table = record(folder)
    assert describe_changes(before, before._replace(fingerprint="other"), table) == (
        "the rows are the same, but not the columns that are left out, or how the file is read"
    )


def test_new_classes_do_not_change_the_digests_of_other_rows(folder):
    """Their numbers change, since classes are sorted, but not their names."""
    assert changes(folder, edited(2, "dog", "ant")) == "label of 1 row changed, first my.csv:4"


def test_other_modalities_are_named(folder):
    before, table = record(folder)
    fewer = replace(table, columns={name: column for name, column in table.columns.items() if name != "words"})
    assert describe_changes(before, record_data(fewer, FileDigests()), fewer) == "only one of the two has words"


def test_hidden_and_numeric_targets_have_digests(folder):
    lines = [row_of(number).replace("cat", "1.5").replace("dog", "2.25") for number in range(20)]
    lines[0] = lines[0].replace("2.25", "")
    write(folder, lines)
    rows = record(folder)[0].rows["target.label"]
    assert len(set(rows.tolist())) == 3


def test_changed_cells_of_a_run_of_an_earlier_version_are_not_called_the_same(folder):
    before, table = record(folder)
    rows = {part.replace("cells.", "input."): digests for part, digests in before.rows.items()}
    assert describe_changes(before._replace(rows=rows), before, table) == (
        "no other part than cells changed, and an earlier version of mmrun recorded cells in another way"
    )


def digest_cells(cells):
    """Return the digests of a table of a single column."""
    column = Column("tabular", Records({"x": PackedValues(cells)}))
    table = Table([], {"x": column}, {}, np.full(len(cells), "train"), "fingerprint")
    return record_data(table, FileDigests()).rows["cells.x"].tolist()


@pytest.mark.parametrize(
    "cells",
    [
        [0.5, None, -3.25],
        [1, 2**60 + 1, None],
        [True, False, None],
        ["a", "\u00e9", None],
        [1, 2.5, "x"],
        [10**400, 1.5],
        [None, None, 7],
    ],
)
def test_many_cells_have_the_digests_of_few(cells):
    """Long columns are digested as arrays, short and mixed ones cell by cell."""
    few, many = digest_cells(cells), digest_cells(cells * 1000)
    assert many == few * 1000
    assert len(set(few)) == len(set(cells))


def test_the_digest_of_a_number_is_the_crc_of_its_bytes():
    assert digest_cells([1.5]) == [crc32(struct.pack("<d", 1.5))]
    assert digest_cells([1.5] * 2000) == [crc32(struct.pack("<d", 1.5))] * 2000


def test_sounds_that_differ_in_the_middle_have_other_digests():
    samples = np.zeros(10_000, dtype=np.float32)
    other = samples.copy()
    other[5_000] = 0.5
    values = [(samples, 8000), (other, 8000), (samples, 16000), (samples.copy(), 8000), None]
    rows = [str(row) for row in range(5)]
    table = Table(rows, {"sound": Column("audio", values)}, {}, np.array(["train"] * 5), "")
    digests = record_data(table, FileDigests()).rows["samples.sound"]
    assert len(set(digests[:3])) == 3
    assert digests[3] == digests[0]
