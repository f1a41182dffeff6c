"""What fine-tuning must not undo: zeros stay zero, and weights that share a value go on sharing one."""

import torch
from torch import Tensor

from mmrun.models.compress.clusters import find_codes
from mmrun.models.compress.magnitude import find_zeros
from mmrun.models.multimodal import Multimodal
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState


class Constraints(Callback):
    """Projects the weights of a compressed model after each step: shared ones onto their mean (Han et al., 2016).

    Args:
        model: compressed, before it is fine-tuned.
        clusters: values that the weights of a layer may take; 0: they share none.
        keeps_zeros: whether weights that are zero stay zero.
    """

    def __init__(self, model: Multimodal, clusters: int, keeps_zeros: bool) -> None:
        self.model = model
        self.zeros: dict[str, Tensor] = find_zeros(model) if keeps_zeros else {}
        self.codes: dict[str, Tensor] = find_codes(model, clusters) if clusters else {}

    def on_step_end(self, state: TrainState, losses: dict[str, Tensor]) -> None:
        """Project after an optimiser step."""
        self.project()

    @torch.no_grad()
    def project(self) -> None:
        """Set to zero what was zero, and to their mean what shared a value."""
        parameters = dict(self.model.named_parameters())
        for name, codes in self.codes.items():
            weight, size = parameters[name], int(codes.max()) + 1
            sums = torch.zeros(size, dtype=torch.float64, device=weight.device)
            sums.index_add_(0, codes.flatten(), weight.flatten().double())
            means = sums / codes.flatten().bincount(minlength=size)
            weight.copy_(means[codes].to(weight.dtype))
        for name, zeros in self.zeros.items():
            parameters[name].masked_fill_(zeros, 0.0)
