import json

import numpy as np
import pytest

from mmrun.data.sheets.new_column import find_name_conflict, write_with_columns
from mmrun.data.sheets.table_files import read_sheet


def extend(tmp_path, name: str, content: bytes, columns: dict, encoding: str | None = None) -> bytes:
    """Write a file with new columns, and return what was written."""
    source, output = tmp_path / name, tmp_path / f"new-{name}"
    source.write_bytes(content)
    write_with_columns(source, output, read_sheet(source, encoding=encoding), columns, encoding)
    assert source.read_bytes() == content
    return output.read_bytes()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a,b\n1,x\n2,y\n", b"a,b,split\n1,x,train\n2,y,test\n"),
        (b"a;b\r\n1,5;x\r\n2;y", b"a;b;split\r\n1,5;x;train\r\n2;y;test"),
        (b'a,b\n"1",  "x,""q"" \n z"\n\n2,\n\n', b'a,b,split\n"1",  "x,""q"" \n z",train\n\n2,,test\n\n'),
        (b"sep=|\na|b\n1|x\n2|y\n", b"sep=|\na|b|split\n1|x|train\n2|y|test\n"),
        (b"\xef\xbb\xbfa,b\n1,\xc3\xbc\n2,y\n", b"\xef\xbb\xbfa,b,split\n1,\xc3\xbc,train\n2,y,test\n"),
    ],
)
def test_cells_of_csv_stay_as_they_are_written(tmp_path, content, expected):
    assert extend(tmp_path, "my.csv", content, {"split": ["train", "test"]}) == expected


def test_a_large_file_is_extended_as_a_small_one_is(tmp_path):
    content = "a,b\n" + "".join(f'{row},"x\n{"y" * 50}"\n' for row in range(5000))
    written = extend(tmp_path, "my.csv", content.encode(), {"n": range(5000)}).decode()
    assert written == "a,b,n\n" + "".join(f'{row},"x\n{"y" * 50}",{row}\n' for row in range(5000))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1252"])
def test_the_encoding_stays(tmp_path, encoding):
    content, expected = "a\tb\n1\tgrün\n2\ty\n", "a\tb\tsplit\n1\tgrün\ttrain\n2\ty\ttest\n"
    other = encoding if encoding == "cp1252" else None
    written = extend(tmp_path, "my.tsv", content.encode(encoding), {"split": ["train", "test"]}, other)
    assert written == expected.encode(encoding)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1.10}\r\n\n{"a":1e400 }\n', '{"a": 1.10, "fold": 0}\r\n\n{"a":1e400, "fold": null }\n'),
        ('[{"a": "}, {"}, {"a": {"b": [1]}}\n]', '[{"a": "}, {", "fold": 0}, {"a": {"b": [1]}, "fold": null}\n]'),
    ],
)
def test_objects_of_json_stay_as_they_are_written(tmp_path, content, expected):
    name = "my.json" if content.startswith("[") else "my.jsonl"
    assert extend(tmp_path, name, content.encode(), {"fold": [0, None]}).decode() == expected


def test_parquet_keeps_types_row_groups_and_features(tmp_path):
    import pyarrow
    from pyarrow import parquet

    source, output = tmp_path / "my.parquet", tmp_path / "new.parquet"
    picture = {"bytes": b"png", "path": None}
    table = pyarrow.table({"picture": [picture] * 3, "n": pyarrow.array([1, 2, None], "int8")})
    features = {"info": {"features": {"n": {"dtype": "int8", "_type": "Value"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, source, row_group_size=2, compression="none")
    write_with_columns(source, output, read_sheet(source), {"fold": [0, 1, None], "split": np.array(["a", "b", "c"])})
    written = parquet.read_table(output)
    assert written.select(["picture", "n"]).equals(table)
    assert written.column("fold").to_pylist() == [0, 1, None]
    assert written.column("split").to_pylist() == ["a", "b", "c"]
    assert parquet.ParquetFile(output).num_row_groups == 2
    named = json.loads(written.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(named) == ["n", "fold", "split"]


def test_a_name_that_is_taken(tmp_path):
    (tmp_path / "my.csv").write_text("split,fold.a\n1,2\n")
    (tmp_path / "my.jsonl").write_text('{"fold": {"a": 1}}\n')
    csv, jsonl = tmp_path / "my.csv", tmp_path / "my.jsonl"
    assert find_name_conflict(csv, read_sheet(csv), "split") == "split"
    assert find_name_conflict(csv, read_sheet(csv), "fold") is None
    assert find_name_conflict(jsonl, read_sheet(jsonl), "fold") == "fold.a"


def test_an_object_with_a_carriage_return_inside_is_one_line(tmp_path):
    content = b'{"a": 1,\r"b": 2}\n{"a": 3}\r\n'
    written = extend(tmp_path, "my.jsonl", content, {"split": ["train", "test"]})
    assert written == b'{"a": 1,\r"b": 2, "split": "train"}\n{"a": 3, "split": "test"}\r\n'
