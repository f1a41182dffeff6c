"""What looks like a mistake in a file is warned of."""

from mmrun.data.sources.manifest import manifest
from tests.data.files import rows, write


def test_nearly_equal_names_are_warned_of(tmp_path):
    lines = ["hi,Good,p7", "ho,good,P7", "ha,bad,p8", "he,NA,p9"]
    table = manifest(write(tmp_path, rows("text,label,patient", *lines)), {"text": "text"}, group="patient")
    assert table.warnings == [
        "label: the classes 'Good' and 'good' are nearly equal; if they are one, spell them alike",
        "label: 'NA' is a class; if it marks a missing value, empty those cells",
        "patient: the groups 'P7' and 'p7' are nearly equal; if they are one, spell them alike",
    ]


def test_a_number_far_from_the_others_is_warned_of(tmp_path):
    lines = [f"hi,{20 + row % 40}.5,{'train' if row < 90 else 'val'}" for row in range(100)] + ["ho,9999999,test"]
    path = write(tmp_path, rows("text,age,split", *lines, count=101))
    assert manifest(path, {"text": "text"}, target="age").warnings == [
        "age: 1 of 11 numbers of other rows, such as 9999999, are far from most (21.5 to 57.5); "
        "if they mark missing values, empty those cells"
    ]


def test_groups_are_compared_as_classes_are(tmp_path):
    spellings = ["7", "7 ", "7.0", "e\u0301", "\u00e9"]
    lines = [f"t{row},{row % 2},{spellings[row % 5]}" for row in range(100)] + ["a,0,p1", "b,1,p2"]
    path = write(tmp_path, rows("text,label,patient", *lines, count=102))
    table = manifest(path, {"text": "text"}, group="patient")
    assert set(table.groups) == {"7", "\u00e9", "p1", "p2"}
    for group in ("7", "\u00e9"):
        assert len(set(table.split[table.groups == group])) == 1
