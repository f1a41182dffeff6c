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
