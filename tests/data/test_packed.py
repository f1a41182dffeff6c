"""Packed columns hold a million cells in little memory and give back what was put in."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mmrun.data.packed import CHUNK_SIZE, MIN_PACKED, PackedValues, Records

N = CHUNK_SIZE + MIN_PACKED + 3  # two packed pieces
SHORT = CHUNK_SIZE + 3  # a packed piece, and one too short to be packed

OF_A_KIND = {
    "strings": lambda i: f"word {i} ü",
    "whole numbers": lambda i: i - 5,
    "floats": lambda i: i / 7,
    "truth": lambda i: i % 2 == 0,
    "paths": lambda i: Path(f"images/{i}.png"),
}
OTHERS = {
    "numbers of both types": lambda i: i if i % 2 else i / 2,
    "truth and numbers": lambda i: i % 2 == 0 if i % 3 else i,
    "lists": lambda i: [i, 1.5],
    "whole numbers beyond 64 bits": lambda i: 2**70 + i,
    "torn letters": lambda i: "\ud800",
    "nothing": lambda i: None,
}


@pytest.mark.parametrize("length", [N, SHORT, 5, 0])
@pytest.mark.parametrize("name", [*OF_A_KIND, *OTHERS])
def test_values_come_back_as_they_were(name, length):
    build_batch = (OF_A_KIND | OTHERS)[name]
    values = [None if i % 11 == 3 else build_batch(i) for i in range(length)]

    packed = PackedValues(iter(values))

    assert len(packed) == length
    assert [(type(value), value) for value in packed] == [(type(value), value) for value in values]
    assert [packed[i] for i in range(length)] == values


@pytest.mark.parametrize("name", OF_A_KIND)
def test_values_of_a_kind_take_little_memory(name):
    def held(column) -> float:  # bytes a value; what Arrow holds is counted apart
        tracemalloc.start()
        kept = column(OF_A_KIND[name](i) for i in range(50 * CHUNK_SIZE))
        bytes_held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return bytes_held / len(kept)

    assert held(PackedValues) < held(list) / 3  # the last piece; and names in paths, which Python interns


def test_rows_are_taken():
    packed = PackedValues(range(N))

    assert list(packed.take(np.array([0, 2, N - 1]))) == [0, 2, N - 1]
    assert packed.take(np.arange(N)) is packed


def test_records_are_rows_of_columns():
    records = Records({"age": PackedValues([31, None, None]), "city": PackedValues(["Bern", "Genf", None])})

    assert list(records) == [{"age": 31, "city": "Bern"}, {"age": None, "city": "Genf"}, None]
    assert [records[row] for row in range(3)] == list(records)
    assert list(records.take(np.array([1, 2]))) == [{"age": None, "city": "Genf"}, None]


def test_rows_become_records():
    rows = [None, {"age": 31, "city": "Bern"}, {"age": None, "city": "Genf"}]

    assert list(Records.from_rows(rows)) == rows
    assert Records.from_rows(rows).columns.keys() == {"age", "city"}
    assert len(Records.from_rows([None, None])) == 0
