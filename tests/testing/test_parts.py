"""The contract checks of preprocessors and tables find what breaks the contract."""

from dataclasses import replace

import numpy as np
import pytest

from mmrun.data.preprocess.series import Steps
from mmrun.data.sources.synthetic import synthetic
from mmrun.data.table import Column
from mmrun.testing.parts import check_decoding, check_hooks, check_state, check_table
from mmrun.training.callback import NullCallback

SERIES = Column("series", [[1.0, 2.0, 5.0], None, [3.0, 4.0, 1.0]])


class Ragged(Steps):
    """Decodes each row to its own length."""

    def decode(self, value):
        return {"values": np.zeros(int(sum(value)))}


class Forgetful(Steps):
    """Decodes a row differently each time."""

    calls = 0

    def decode(self, value):
        self.calls += 1
        return {"values": np.full(3, self.calls)}


def test_parts_of_ours_pass():
    for check in (check_decoding, check_state):
        check(Steps(3), SERIES)
    check_table(synthetic(40))
    check_hooks(NullCallback())


@pytest.mark.parametrize(
    ("preprocessor", "check", "problem"),
    [
        (Ragged, check_decoding, "part 'values' differs between rows"),
        (Forgetful, check_state, "decoding the same row twice gives different arrays"),
    ],
)
def test_a_broken_preprocessor_is_found(preprocessor, check, problem):
    with pytest.raises(AssertionError, match=problem):
        check(preprocessor(3), replace(SERIES, values=[[1.0, 2.0, 5.0], None, [3.0, 4.0, 2.0]]))


def test_a_table_with_rows_of_one_name_is_found():
    table = synthetic(40)
    with pytest.raises(AssertionError):
        check_table(replace(table, ids=["same"] * 40))
