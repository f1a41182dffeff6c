"""The model of every run: an encoder a modality, a fusion, a head a task, and a probe on each encoder."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Batch, Encoder, Features, Fusion, Input, Task


class Multimodal(nn.Module):
    """Joins the parts. Its parameter names are what stages and the shell speak of.

    encoder.<modality>.*   fusion.*   head.<task>.*   probe.<modality>.<task>.*
    """

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        for word, names in (("modality", encoders), ("task", tasks)):
            for name in names:
                _check_name(word, name)
        self.encoder = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.head = nn.ModuleDict({name: fusion.head(task.num_outputs) for name, task in tasks.items()})
        self.probe = nn.ModuleDict()
        for modality, encoder in encoders.items():
            probes = {name: nn.Linear(encoder.dim, task.num_outputs) for name, task in tasks.items()}
            self.probe[modality] = nn.ModuleDict(probes)

    def encode(self, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Encode the given modalities, each by its own encoder."""
        return {modality: self.features(modality, x) for modality, x in inputs.items()}

    def features(self, modality: str, x: Input) -> Features:
        """Encode one modality, unless the batch holds what its frozen encoder gave before (training.features)."""
        return Features(**x) if isinstance(x, dict) and "pooled" in x else self.encoder[modality](x)

    def head_outputs(self, fused: Tensor) -> dict[str, Tensor]:  # [B, D] -> by task, [B, C]
        """Predict every task from the fused vector."""
        return {task: head(fused) for task, head in self.head.items()}

    def probe_outputs(self, modality: str, pooled: Tensor) -> dict[str, Tensor]:  # [B, D] -> by task, [B, C]
        """Predict every task from one modality's pooled features, by its probes."""
        return {task: probe(pooled) for task, probe in self.probe[modality].named_children()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:  # by task, [B, C]
        """Predict every task from all modalities together."""
        return self.head_outputs(self.fusion(self.encode(batch.inputs), batch.present))

    def unimodal(self, batch: Batch, modality: str) -> dict[str, Tensor]:  # by task, [B, C]
        """Predict every task from one modality alone, by its probes."""
        return self.probe_outputs(modality, self.features(modality, batch.inputs[modality]).pooled)


def _check_name(word: str, name: str) -> None:
    """Refuse what cannot stand in a parameter name: a dot, and the words that a ModuleDict keeps for itself."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"{word} '{name}': this cannot be part of a parameter name; rename it, for example 'my_{word}'"
        )
