"""A file of people: two numbers and a note say which of two classes each one is, and roughly how old."""

import csv

COLUMNS = ["name", "height", "weight", "note", "split", "label", "age"]
WORDS = [
    *("dataset=manifest", "dataset.path=rows.csv", "dataset.target=[label,age]", "dataset.id=name"),
    *("dataset.columns={body:[height,weight],note:note}", "dataset.kinds={body:tabular,note:text}"),
]


def rows(number=160):
    for row in range(number):
        label = row // 4 % 2
        note = f"a {('short', 'tall')[label]} one"
        split = ("train", "train", "val", "test")[row % 4]
        yield [f"p{row}", 150 + 40 * label + row % 7, 60 + row % 5, note, split, "ab"[label], 20.5 + row % 9]


def write(file, columns, selected):
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([dict(zip(COLUMNS, row, strict=True))[name] for name in columns] for row in selected)
