"""Columns that cannot help."""

import numpy as np

from mmrun.data.checks.useless import find_useless_columns
from mmrun.data.packed import PackedValues, Records


def test_constant_columns_row_numbers_and_identifiers_are_named():
    columns = {
        "site": ["north"] * 40,
        "article": [str(1000 + row) for row in range(40)],
        "account": [str(90_000_000 + 17 * (row * 7 % 40)) for row in range(40)],
        "age": [str(row % 9) for row in range(40)],
    }
    records = Records({name: PackedValues(cells) for name, cells in columns.items()})
    assert find_useless_columns("shop", records, np.ones(40, dtype=bool)) == [
        "shop: column 'site' is the same in all training rows",
        "shop: column 'article' is one higher in each row; if it numbers the rows, leave it out with dataset.columns",
        "shop: column 'account' has a different long number in each row; if they are identifiers, leave it out with "
        "dataset.columns",
    ]
