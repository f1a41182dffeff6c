"""Packed columns hold a million cells in little memory and return them unchanged."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mmrun.data.packed import CHUNK_SIZE, MIN_PACKED, PackedValues, Records

N = CHUNK_SIZE + MIN_PACKED + 3  # two packed chunks
SHORT = CHUNK_SIZE + 3  # a packed chunk, and one too short to be packed

OF_ONE_TYPE = {
    "strings": lambda i: f"word {i} ü",
    "integers": lambda i: i - 5,
    "floats": lambda i: i / 7,
    "booleans": lambda i: i % 2 == 0,
    "paths": lambda i: Path(f"images/{i}.png"),
}
MIXED = {
    "integers and floats": lambda i: i if i % 2 else i / 2,
    "booleans and integers": lambda i: i % 2 == 0 if i % 3 else i,
    "lists": lambda i: [i, 1.5],
    "integers beyond 64 bits": lambda i: 2**70 + i,
    "lone surrogates": lambda i: "\ud800",
    "nothing": lambda i: None,
}


@pytest.mark.parametrize("length", [N, SHORT, 5, 0])
@pytest.mark.parametrize("name", [*OF_ONE_TYPE, *MIXED])
def test_values_are_returned_unchanged(name, length):
    build = (OF_ONE_TYPE | MIXED)[name]
    values = [None if i % 11 == 3 else build(i) for i in range(length)]

    packed = PackedValues(iter(values))

    assert len(packed) == length
    assert [(type(value), value) for value in packed] == [(type(value), value) for value in values]
    assert [packed[i] for i in range(length)] == values


@pytest.mark.parametrize("name", OF_ONE_TYPE)
def test_values_of_one_type_take_little_memory(name):
    def held(column) -> float:  # bytes a value; what Arrow holds is counted apart
        tracemalloc.start()
        packed = column(OF_ONE_TYPE[name](i) for i in range(50 * CHUNK_SIZE))
        bytes_held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return bytes_held / len(packed)

    assert held(PackedValues) < held(list) / 3  # the last piece; and names in paths, which Python interns


def test_take_selects_rows():
    packed = PackedValues(range(N))

    assert list(packed.take(np.array([0, 2, N - 1]))) == [0, 2, N - 1]
    assert packed.take(np.arange(N)) is packed


def test_records_are_rows_of_columns():
    records = Records({"age": PackedValues([31, None, None]), "city": PackedValues(["Bern", "Genf", None])})

    assert list(records) == [{"age": 31, "city": "Bern"}, {"age": None, "city": "Genf"}, None]
    assert [records[row] for row in range(3)] == list(records)
    assert list(records.take(np.array([1, 2]))) == [{"age": None, "city": "Genf"}, None]


def test_rows_become_records():
    rows: list[dict[str, object] | None] = [None, {"age": 31, "city": "Bern"}, {"age": None, "city": "Genf"}]

    assert list(Records.from_rows(rows)) == rows
    assert Records.from_rows(rows).columns.keys() == {"age", "city"}
    assert len(Records.from_rows([None, None])) == 0
