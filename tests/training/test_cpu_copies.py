import torch

from mmrun.training.cpu_copies import CPUCopies


def test_batches_are_joined_in_order_with_floats_in_fp32():
    collected = CPUCopies()
    for rows in ([0, 1], [2]):
        index = torch.tensor(rows)
        collected.append(({"head": {"label": index.bfloat16()}}, index))
    outputs, index = collected.concatenate()
    assert index.tolist() == [0, 1, 2]
    assert outputs["head"]["label"].dtype == torch.float32
    assert outputs["head"]["label"].tolist() == [0.0, 1.0, 2.0]
