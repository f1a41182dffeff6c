import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrun.data.checks import modality_statistics, statistics
from mmrun.data.checks.statistics import summarize
from mmrun.data.sources.manifest import manifest


def write(tmp_path, header: str, rows: list[str]) -> str:
    (tmp_path / "my.csv").write_text("\n".join([header, *rows]) + "\n")
    return str(tmp_path / "my.csv")


def test_rows_classes_and_missing_values_by_split(tmp_path):
    rows = [
        f"{'' if row == 0 else f'word {row}'},{row},{'ab'[row % 2]},{'train' if row < 8 else 'val'}" for row in range(9)
    ]
    rows.append("last,9.5,b,test")
    result = summarize(manifest(write(tmp_path, "text,age,label,split", rows)))
    assert result.rows == {"train": 8, "val": 1, "test": 1}
    assert result.modalities["text"].missing == {"train": 1, "val": 0, "test": 0}
    assert result.targets["label"].frequencies.counts == {
        "a": {"train": 4, "val": 1, "test": 0},
        "b": {"train": 4, "val": 0, "test": 1},
    }


def test_numbers_are_in_their_own_unit(tmp_path):
    rows = [f"x{row % 2},{row}{',5' if row else ''} kg,{'ab'[row % 2]}" for row in range(10)]
    path = write(
        tmp_path, "word;weight;label", [row.replace(",", ";", 1)[::-1].replace(",", ";", 1)[::-1] for row in rows]
    )
    weight = summarize(manifest(path)).modalities["tabular"].distributions["weight"]
    assert (weight.least, weight.median, weight.most, weight.missing) == (0.0, 5.0, 9.5, 0)
    assert sum(map(sum, weight.counts.values())) == 10


def test_few_whole_numbers_have_a_bin_each(tmp_path):
    path = write(tmp_path, "n,word,label", [f"{row % 3},w,{'ab'[row % 2]}" for row in range(30)])
    numbers = summarize(manifest(path)).modalities["tabular"].distributions["n"]
    assert numbers.edges == [-0.5, 0.5, 1.5, 2.5]
    assert np.sum(list(numbers.counts.values()), axis=0).tolist() == [10, 10, 10]


@pytest.mark.parametrize("numbers", [("1e308", "-1e308"), ("1", "1.0000000000000002"), ("5e-324", "0")])
def test_numbers_at_the_limits_of_their_type(tmp_path, numbers):
    path = write(tmp_path, "n,m,label", [f"{numbers[row % 2]},{row}.5,{'ab'[row % 2]}" for row in range(30)])
    result = summarize(manifest(path))
    assert sum(map(sum, result.modalities["tabular"].distributions["n"].counts.values())) == 30


def test_frequent_words(tmp_path):
    texts = ["The cat and the dog", "the CAT of 2024"] * 10
    path = write(tmp_path, "text,label", [f"{text} {row},{'ab'[row % 2]}" for row, text in enumerate(texts)])
    words = summarize(manifest(path)).modalities["text"].frequencies["words of 3 letters or more"]
    assert {word: sum(counts.values()) for word, counts in words.counts.items()} == {
        "the": 30,
        "cat": 20,
        "and": 10,
        "dog": 10,
    }


def test_sizes_and_lengths_of_files(tmp_path):
    rows = []
    for row in range(10):
        Image.new("L", (10 + row, 5)).save(tmp_path / f"{row}.png")
        soundfile.write(tmp_path / f"{row}.wav", np.ones(800 * (row + 1)), 8000)
        np.save(tmp_path / f"{row}.npy", np.ones((2, 7)))
        rows.append(f"{row}.png,{row}.wav,{row}.npy,{'ab'[row % 2]}")
    (tmp_path / "3.png").write_text("no picture")
    modalities = summarize(manifest(write(tmp_path, "photo,sound,pulse,label", rows))).modalities
    width = modalities["photo"].distributions["width (pixels)"]
    assert (width.least, width.most) == (10, 19)
    assert modalities["photo"].unreadable == {
        "my.csv:5: column 'photo'": "3.png is damaged or not an image (UnidentifiedImageError)"
    }
    assert modalities["sound"].distributions["length (seconds)"].most == 1.0
    assert modalities["pulse"].distributions["length (steps)"].median == 7
    assert list(modalities["pulse"].frequencies["channels"].counts) == ["2"]


def test_correlations_of_columns_and_a_target_of_numbers(tmp_path):
    rows = [f"{row}.5,{-row}.25,{(row * 7) % 5},{'' if row == 3 else f'{row}.5'}" for row in range(40)]
    result = summarize(manifest(write(tmp_path, "up,down,odd,label", rows)))
    assert result.correlations.names == ["label", "up", "down", "odd"]
    np.testing.assert_allclose(result.correlations.values[0][:3], [1, 1, -1], atol=1e-2)


def test_many_rows_and_files_are_sampled_which_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "MAX_ROWS", 20)
    monkeypatch.setattr(modality_statistics, "MAX_FILES", 5)
    Image.new("L", (10, 5)).save(tmp_path / "a.png")
    path = write(tmp_path, "photo,n,label", [f"a.png,{row}.5,{'ab'[row % 2]}" for row in range(50)])
    result = summarize(manifest(path))
    assert result.rows == {"train": 40, "val": 5, "test": 5}
    assert result.modalities["tabular"].num_read == 20
    assert result.modalities["photo"].num_read == 5
    assert result.notes[0] == "cells and texts are those of 20 of 50 rows, drawn at random"
    assert "photo: 5 of 20 files are opened, drawn at random" in result.notes


def test_several_tasks(tmp_path):
    rows = [f"word {row},{'x|y' if row % 2 else 'x'},{row}.5" for row in range(40)]
    table = manifest(write(tmp_path, "text,tags,price", rows), target=["tags", "price"], task={"tags": "multilabel"})
    targets = summarize(table).targets
    assert {label: sum(counts.values()) for label, counts in targets["tags"].frequencies.counts.items()} == {
        "x": 40,
        "y": 20,
    }
    assert (targets["price"].distribution.least, targets["price"].distribution.most) == (0.5, 39.5)


def test_long_names_are_cut_and_counted_together_where_they_begin_alike(tmp_path):
    rows = [f"word {row},{'x' * 100}{'ab'[row % 2]}" for row in range(20)]
    frequencies = summarize(manifest(write(tmp_path, "text,label", rows))).targets["label"].frequencies
    assert frequencies.num_different == 2
    assert {name: sum(counts.values()) for name, counts in frequencies.counts.items()} == {"x" * 80 + " ...": 20}
