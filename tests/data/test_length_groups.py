import numpy as np
import pytest
import torch

from mmrun.data import length_groups
from mmrun.data.loader import Loader
from mmrun.data.preprocess.text import Tokens
from mmrun.data.store import LazyColumn, MappedColumn, open_column
from mmrun.data.table import Column

N, LONGEST, SIZE = 300, 40, 8
LENGTHS = np.random.default_rng(0).integers(1, LONGEST + 1, N)
EVERY = np.ones(N, dtype=bool)


def text(lengths=LENGTHS):
    mask = torch.arange(LONGEST) < torch.from_numpy(lengths)[:, None]
    return MappedColumn({"ids": (torch.arange(N)[:, None] * mask).int(), "mask": mask}, lengths > 0, {})


def loader(columns=None, rows=None, **arguments):
    columns = {"text": text()} if columns is None else columns
    arguments = {"batch_size": SIZE, "cropped": columns, "group_by_length": True, **arguments}
    return Loader(columns, {}, np.arange(N) if rows is None else rows, **arguments)


def widths(loaded, steps):
    return [loaded.batch(step).inputs["text"]["mask"].shape[1] for step in steps]


def even(length):
    """The width of a batch of texts: even, and at least 8."""
    return max(8, length + length % 2)


def test_texts_of_similar_length_share_a_batch_and_batches_are_shuffled():
    order = np.arange(100, 112)
    lengths = np.array([9, 1, 8, 2, 7, 3, 6, 4, 5, 0, 12, 11])
    orders = [length_groups.bucket_by_length(order, lengths, 0, 4, np.random.default_rng(seed)) for seed in range(50)]
    for batches in orders:
        assert sorted(sorted(batch) for batch in batches.reshape(3, 4).tolist()) == [
            [100, 102, 110, 111],
            [101, 103, 105, 109],
            [104, 106, 107, 108],
        ]
    assert {batches[0] for batches in orders} == set(order)


@pytest.mark.parametrize(("start", "size", "before", "after"), [(0, 5, 0, 2), (3, 5, 2, 0), (6, 5, 4, 3), (1, 4, 3, 1)])
def test_rows_of_a_batch_across_two_epochs_stay_in_place(start, size, before, after):
    """Batches are cut from the beginning of the stream, not of the epoch."""
    order = length_groups.bucket_by_length(np.arange(12), np.arange(12)[::-1], start, size, np.random.default_rng(0))
    assert sorted(order) == list(range(12))
    assert order[:before].tolist() == list(range(before))
    assert order[12 - after :].tolist() == list(range(12 - after, 12))
    batches = order[before : 12 - after].reshape(-1, size)
    assert (np.ptp(batches, axis=1) == size - 1).all()  # neighbours


@pytest.mark.parametrize("rows", [N, 299, 21, 8, 5])
def test_every_row_once_in_each_epoch(rows):
    loaded = loader(rows=np.arange(rows))
    stream = torch.cat([loaded.batch(step).index for step in range(4 * rows // SIZE + 1)]).numpy()
    epochs = stream[: 4 * rows].reshape(4, rows)
    assert (np.sort(epochs) == np.arange(rows)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_batches_can_be_loaded_in_any_order():
    first, second = loader(), loader()
    steps = range(80)  # more than two epochs
    forward = [first.batch(step).index.tolist() for step in steps]
    assert forward == [second.batch(step).index.tolist() for step in reversed(steps)][::-1]
    assert forward != [loader(seed=1).batch(step).index.tolist() for step in steps]


def test_batches_are_cropped_to_their_longest_text():
    loaded = loader()
    for step in range(1, 80):
        batch = loaded.batch(step)
        width = even(LENGTHS[batch.index].max())
        mask = torch.arange(width) < torch.from_numpy(LENGTHS)[batch.index][:, None]
        assert batch.inputs["text"]["mask"].equal(mask)
        assert batch.inputs["text"]["ids"].equal(batch.index[:, None] * mask)
    assert np.mean(widths(loaded, range(1, 38))) < 0.65 * LONGEST
    assert np.mean(widths(loader(group_by_length=False, cropped=()), range(1, 38))) == LONGEST


def test_the_first_batch_is_not_cropped():
    assert widths(loader({"text": text(np.full(N, 3))}), [0, 1, 0]) == [LONGEST, 8, LONGEST]


def test_lengths_do_not_follow_a_trend_within_an_epoch():
    """A window holds all 37 batches of the epoch: their lengths neither rise nor fall over it."""
    means = [
        LENGTHS[loader(seed=seed).sampler.stream.permute_rows(0)[:296]].reshape(37, SIZE).mean(1) for seed in range(30)
    ]
    assert abs(np.mean([np.corrcoef(np.arange(37), mean)[0, 1] for mean in means])) < 0.1


def test_evaluation_keeps_its_order_and_is_cropped():
    plain, cropped = loader(cropped=()).ordered(), loader().ordered()
    for full, batch in zip(plain, cropped, strict=True):
        assert full.index.equal(batch.index)
        width = batch.inputs["text"]["mask"].shape[1]
        assert width == even(LENGTHS[full.index].max())
        assert full.inputs["text"]["ids"][:, :width].equal(batch.inputs["text"]["ids"])


def test_ranks_share_a_batch():
    alone, ranks = loader(), [loader(rank=rank, world=2) for rank in range(2)]
    for step in range(80):
        assert torch.cat([rank.batch(step).index for rank in ranks]).equal(alone.batch(step).index)


def test_rows_are_sorted_by_the_length_of_all_their_texts():
    complement = text(LONGEST - LENGTHS)  # together, all rows have the same length
    assert length_groups.measure_columns([text(), complement]).tolist() == [1] * N
    batch = loader({"text": text(), "title": text(np.full(N, 9))}).batch(1)
    assert batch.inputs["title"]["mask"].shape[1] == 10
    assert batch.inputs["text"]["mask"].shape[1] == even(LENGTHS[batch.index].max())


def test_a_batch_without_any_text_has_a_width():
    assert widths(loader({"text": text(np.zeros(N, dtype=int))}), [1]) == [8]


def test_features_are_neither_cropped_nor_grouped():
    features = {"pooled": torch.ones(N, 3), "tokens": torch.ones(N, LONGEST, 3), "mask": torch.zeros(N, LONGEST) > 0}
    columns = {"text": MappedColumn(features, EVERY, {})}
    grouped, plain = loader(columns), loader(columns, group_by_length=False)
    assert grouped.sampler.stream.permute_rows(0).tolist() == plain.sampler.stream.permute_rows(0).tolist()
    assert grouped.batch(1).inputs["text"]["tokens"].shape == (SIZE, LONGEST, 3)
    assert grouped.typical_batch().inputs["text"]["tokens"].shape == (SIZE, LONGEST, 3)


def test_series_sounds_and_several_items_are_cropped():
    mask = text().parts["mask"]
    series = MappedColumn({"values": mask[:, None].float(), "mask": mask}, EVERY, {})
    lengths = torch.from_numpy(LENGTHS) * 100
    sound = MappedColumn({"waveform": torch.ones(N, 4000, dtype=torch.int16), "length": lengths}, EVERY, {})
    several = {"ids": mask.int()[:, None], "mask": mask[:, None], "items": torch.ones(N, 1) > 0}
    loaded = loader({"series": series, "sound": sound, "texts": MappedColumn(several, EVERY, {})})
    for batch in (loaded.batch(step) for step in range(1, 38)):
        longest = LENGTHS[batch.index].max()
        width = -(-longest // 8) * 8
        assert batch.inputs["series"]["values"].shape == (SIZE, 1, width)
        assert batch.inputs["series"]["mask"].shape == (SIZE, width)
        assert batch.inputs["texts"]["ids"].shape == (SIZE, 1, even(longest))
        assert batch.inputs["texts"]["items"].shape == (SIZE, 1)
        assert batch.inputs["sound"]["waveform"].shape == (SIZE, min(-(-longest // 16) * 1600, 4000))
        assert batch.inputs["sound"]["length"].equal(lengths[batch.index])


def test_a_typical_batch_has_the_mean_width_of_the_epoch():
    for loaded in (loader(batch_size=4), loader(batch_size=4, group_by_length=False)):
        mean = np.mean(widths(loaded, range(1, 76)))
        assert loaded.typical_batch().inputs["text"]["ids"].shape == (4, round(mean))
        assert loaded.typical_batch().index.equal(loaded.batch(0).index)
    ranks = [loader(batch_size=4, rank=rank, world=2) for rank in range(2)]
    assert len({rank.typical_batch().inputs["text"]["ids"].shape for rank in ranks}) == 1


@pytest.mark.parametrize("rows", [1, 3, SIZE])
def test_a_few_rows_have_a_typical_batch(rows):
    assert (
        loader(rows=np.arange(rows)).typical_batch().index.tolist()
        == loader(rows=np.arange(rows)).batch(0).index.tolist()
    )


def test_texts_of_a_lazy_column_are_cropped_but_not_grouped(tmp_path):
    column, tokens = Column("text", ["a b c"] * N), Tokens(max_tokens=LONGEST)
    tokens.fit(column, np.arange(N))
    lazy = open_column(column, tokens, "few", tmp_path, 0)
    assert isinstance(lazy, LazyColumn)
    loaded = loader({"text": lazy})
    assert (
        loaded.sampler.stream.permute_rows(0).tolist()
        == loader({"text": lazy}, group_by_length=False).sampler.stream.permute_rows(0).tolist()
    )
    assert widths(loaded, [0, 1]) == [LONGEST, 8]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_page_locked_memory_stays_page_locked():
    parts = text().gather(torch.arange(4), pin=True)
    assert all(part.is_pinned() for part in length_groups.crop_padding(parts).values())
