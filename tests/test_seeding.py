import torch

from mmrun.seeding import named_seed, seeded_generator


def test_streams_depend_on_seed_and_name():
    seeds = {named_seed(seed, name) for seed in (0, 1) for name in ("order", "init/fusion")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert named_seed(0, "order") == named_seed(0, "order")


def test_the_global_generator_is_restored():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded_generator(0, "init/fusion"):
        first = torch.rand(2)
    assert torch.rand(2).equal(expected)
    with seeded_generator(0, "init/fusion"):
        assert torch.rand(2).equal(first)
