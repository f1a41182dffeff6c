"""The model of every run: an encoder per modality, a fusion, a head per task, and a probe on each encoder."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Batch, Encoder, Features, Fusion, Input, Task


class Multimodal(nn.Module):
    """Encoders, a fusion, heads on the fused vector, and probes on each encoder.

    Stages and the shell use the names of its parameters: `encoder.<modality>.*`, `fusion.*`, `head.<task>.*`,
    `probe.<modality>.<task>.*`.

    Args:
        encoders: by modality.
        fusion: reads their features.
        tasks: what is predicted, by name.

    Raises:
        ConfigError: a name cannot be part of a parameter's name.
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
        """Return the features of the given modalities, each from its own encoder."""
        return {modality: self.features(modality, x) for modality, x in inputs.items()}

    def features(self, modality: str, x: Input) -> Features:
        """Return the features of one modality: computed, or those that its frozen encoder computed before."""
        return Features(**x) if isinstance(x, dict) and "pooled" in x else self.encoder[modality](x)

    def head_outputs(self, fused: Tensor) -> dict[str, Tensor]:
        """Return the outputs by task, [B, C], from the fused vector [B, D]."""
        return {task: head(fused) for task, head in self.head.items()}

    def probe_outputs(self, modality: str, pooled: Tensor) -> dict[str, Tensor]:
        """Return the outputs of a modality's probes by task, [B, C], from its pooled features [B, D]."""
        return {task: probe(pooled) for task, probe in self.probe[modality].named_children()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs by task, [B, C], from all modalities together."""
        return self.head_outputs(self.fusion(self.encode(batch.inputs), batch.present))

    def unimodal(self, batch: Batch, modality: str) -> dict[str, Tensor]:
        """Return the outputs by task, [B, C], from one modality alone, by its probes."""
        return self.probe_outputs(modality, self.features(modality, batch.inputs[modality]).pooled)


def _check_name(word: str, name: str) -> None:
    """Reject what cannot be part of a parameter's name: a dot, and the attributes of a ModuleDict."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"{word} '{name}': this cannot be part of a parameter name; rename it, for example 'my_{word}'"
        )
