"""What the columns of a file may be, before a target is named."""

from mmrun.data.checks.survey import survey
from mmrun.data.sheets.table_files import read_sheet


def survey_file(folder):
    lines = ["id,photo,age,diagnosis,patient,note"]
    lines += [f"{row},{row}.png,{20 + row % 7}.5,{'ab'[row % 2]},p{row % 3}," for row in range(12)]
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    return survey(read_sheet(folder / "my.csv"))


def test_columns_have_a_kind_and_a_task(tmp_path):
    columns = {guess.name: guess for guess in survey_file(tmp_path).columns}
    assert (columns["photo"].kind, columns["photo"].task) == ("image", "")
    assert (columns["age"].kind, columns["age"].task) == ("tabular", "regression")
    assert (columns["diagnosis"].task, columns["diagnosis"].num_different) == ("classification", 2)
    assert columns["id"].task == ""  # it numbers the rows
    assert (columns["note"].reason, columns["note"].empty) == ("empty cells", 1.0)


def test_likely_targets_come_first_and_groups_are_none(tmp_path):
    found = survey_file(tmp_path)
    assert found.targets == ["diagnosis", "age"]
    assert found.groups == ["patient"]


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    rows = "".join(f"{town},{row}\n" for row, town in enumerate(["Bonn", "Köln", "Rom", "München"] * 3))
    (tmp_path / "my.csv").write_bytes(f"town,x\n{rows}".encode("cp1252"))
    note = survey(read_sheet(tmp_path / "my.csv")).notes[0]
    assert note.startswith("6 of the first 12 rows cannot be read; the first is my.csv:3: column 'town': is not UTF-8")
