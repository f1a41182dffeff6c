import torch

from mmrun.models.encoders.series import Tcn


def test_tcn_never_looks_ahead() -> None:
    torch.manual_seed(0)
    tcn, values = Tcn(1, dim=8, num_levels=3).eval(), torch.randn(1, 1, 20)
    mask = torch.ones(1, 20, dtype=torch.bool)
    changed = values.clone()
    changed[0, 0, 12] += 1
    difference = (tcn({"values": values, "mask": mask}).tokens - tcn({"values": changed, "mask": mask}).tokens)[0]
    assert (difference.abs().amax(dim=1) > 1e-6).tolist() == [False] * 12 + [True] * 8


def test_each_level_of_a_tcn_ends_in_a_relu_after_the_residual_sum() -> None:
    tcn = Tcn(1, dim=8, num_levels=1).eval()
    x = {"values": torch.randn(1, 1, 20), "mask": torch.ones(1, 20, dtype=torch.bool)}
    inward = tcn.inward(x["values"])
    expected = torch.relu(inward + tcn.levels[0].net(inward)).transpose(1, 2)
    torch.testing.assert_close(tcn(x).tokens, expected)
    assert tcn(x).tokens.min() == 0
