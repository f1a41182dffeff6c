"""Several items of a row: how many are read, and how they are padded."""

import json

import numpy as np

from mmrun.data.items import ItemList, ItemOptions
from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.items import Items, expand_items, restore, wrap
from mmrun.data.table import Column
from mmrun.testing.parts import check_decoding, check_state

DARK, BRIGHT = np.zeros((4, 4), np.uint8), np.full((4, 4), 200, np.uint8)
PICTURES = [ItemList([DARK, BRIGHT]), BRIGHT, None, ItemList([DARK, DARK, BRIGHT])]


def fit(values, options=None) -> Items:
    items = Items(Pixels(2), options)
    items.fit(Column("image", values), np.arange(len(values)))
    return items


def test_rows_with_fewer_items_are_padded_and_masked():
    items = fit(PICTURES)
    decoded = items.decode(PICTURES[0])
    assert decoded[""].shape == (3, 1, 2, 2)
    assert decoded[""][:, 0, 0, 0].tolist() == [0, 200, 0]
    assert decoded["items"].tolist() == [True, True, False]
    assert items.decode(BRIGHT)["items"].tolist() == [True, False, False]
    assert items.notes[-1] == (
        "1 to 3 files in a row: the mean of their vectors represents the row; "
        "dataset.items.NAME=tokens keeps them apart"
    )


def test_what_is_beyond_the_maximum_is_cut_and_said():
    items = fit(PICTURES, ItemOptions("tokens", 2))
    assert items.decode(PICTURES[3])["items"].tolist() == [True, True]
    assert items.notes[-1] == (
        "1 to 3 files in a row, of which the first 2 are read: 33.3% of 3 rows are cut (dataset.max_items); as tokens"
    )


def test_the_maximum_holds_nearly_all_training_rows():
    rows = [ItemList([DARK] * 2)] * 200 + [ItemList([DARK] * 30)]
    assert fit(rows).max_items == 2
    assert fit([ItemList([DARK] * 30)]).max_items == 16


def test_sounds_have_items_too():
    tone = (np.ones(80, np.int16), 8000)
    items = Items(Waveform(8000, 0.01))
    items.fit(Column("audio", [ItemList([tone, tone]), tone]), np.arange(2))
    decoded = items.decode(tone)
    assert (decoded["waveform"].shape, decoded["length"].tolist()) == ((2, 80), [80, 0])


def test_items_keep_the_contract_of_preprocessors():
    for check in (check_decoding, check_state):
        check(Items(Pixels(2)), Column("image", PICTURES))


def test_a_state_says_whether_rows_have_items():
    items = fit(PICTURES, ItemOptions("tokens"))
    restored = restore(Pixels(2), json.loads(json.dumps(items.state())))
    assert (restored.decode(PICTURES[0])[""] == items.decode(PICTURES[0])[""]).all()
    assert restored.metadata == {"in_channels": 1, "image_size": 2, "item_pooling": "tokens"}
    single = Pixels(2)
    single.fit(Column("image", [DARK]), np.arange(1))
    assert isinstance(restore(Pixels(2), single.state()), Pixels)
    assert isinstance(wrap(Pixels(2), Column("image", [DARK])), Pixels)


def test_items_become_rows_of_their_own():
    column, rows = expand_items(Column("image", PICTURES, ["a", "b", "c", "d"]), np.array([1, 3]))
    assert (len(column.values), column.locations, rows.tolist()) == (6, ["a", "a", "b", "d", "d", "d"], [2, 3, 4, 5])
    single = Column("image", [DARK, None])
    assert expand_items(single, np.arange(1))[0] is single
