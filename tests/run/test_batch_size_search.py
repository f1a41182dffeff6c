import pytest
import torch

from mmrun.run.batch_size_search import recorded_batch_size, resolve_batch_size


def test_a_number_stays(open_run):
    assert resolve_batch_size(open_run()).config.trainer.batch_size == 16


@pytest.mark.parametrize(("rows", "expected"), [(20, 16), (3, 2)])
def test_auto_is_the_largest_power_of_two_that_fits_and_is_recorded(open_run, monkeypatch, rows, expected):
    session = open_run("trainer.batch_size=auto")
    encoder = session.model.encoder["a"]
    forward = encoder.forward

    def forward_few(x):
        if len(next(iter(x.values()))) > rows:
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return forward(x)

    monkeypatch.setattr(encoder, "forward", forward_few)
    assert resolve_batch_size(session).config.trainer.batch_size == expected
    assert session.folder.read_environment()["batch_size"] == expected
    assert recorded_batch_size(session.config, session.folder).trainer.batch_size == expected
