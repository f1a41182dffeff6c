"""The model of every run: an encoder per modality, a fusion, a head per task, and a probe on each encoder."""

from collections.abc import Iterable, Mapping
from typing import cast

from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.types import Batch, Encoder, Features, Fusion, Input, Task


class Multimodal(nn.Module):
    """Encoders, a fusion, heads on the fused vector, and linear probes on each encoder.

    Strategies and overrides refer to the names of its parameters: `encoder.<modality>.*`, `fusion.*`,
    `head.<task>.*`, `probe.<modality>.<task>.*`; there, a dot in the name of a task is a `_`.

    Args:
        encoders: by modality.
        fusion: reads the features of all encoders.
        tasks: what is predicted, by name.
        heads: by task, where the fusion does not build them.

    Raises:
        ConfigError: the name of a modality or target cannot be part of a parameter's name.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        tasks: Mapping[str, Task],
        heads: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        for modality in encoders:
            _check_modality(modality)
        self._tasks = name_parameters(tasks)
        self.encoder = nn.ModuleDict(encoders)
        self.fusion = fusion
        if heads is None:
            heads = {name: fusion.head(task.num_outputs) for name, task in tasks.items()}
        self.head = nn.ModuleDict({key: heads[name] for key, name in self._tasks.items()})
        self.probe = nn.ModuleDict()
        for modality, encoder in encoders.items():
            probes = {key: nn.Linear(encoder.dim, tasks[name].num_outputs) for key, name in self._tasks.items()}
            self.probe[modality] = nn.ModuleDict(probes)

    @property
    def croppable(self) -> list[str]:
        """Modalities of which padding may be cropped, since their encoders ignore it."""
        return [modality for modality, encoder in self.encoder.items() if cast(Encoder, encoder).ignores_padding]

    def encode(self, inputs: Mapping[str, Input]) -> dict[str, Features]:
        """Encode some modalities, each with its own encoder.

        Args:
            inputs: by modality; any subset of the model's modalities.

        Returns:
            Features by modality, in the order of `inputs`.
        """
        return {modality: self.encode_modality(modality, x) for modality, x in inputs.items()}

    def encode_modality(self, modality: str, x: Input) -> Features:
        """Encode one modality, or return the features that its frozen encoder computed earlier.

        Args:
            modality: name of the encoder.
            x: raw tensors of its kind (see `mmrun.types.Input`), or {"pooled": ...} with cached features.

        Returns:
            Pooled features [B, D], and tokens [B, T, D] with their mask [B, T] where the encoder has them.
        """
        return Features(**x) if isinstance(x, dict) and "pooled" in x else self.encoder[modality](x)

    def forward_head(self, fused: Tensor) -> dict[str, Tensor]:
        """Apply the head of each task to the fused vector.

        Args:
            fused: [B, D], where D is `fusion.dim`.

        Returns:
            Outputs by task, [B, C].
        """
        return {self._tasks[key]: head(fused) for key, head in self.head.items()}

    def forward_probe(self, modality: str, pooled: Tensor) -> dict[str, Tensor]:
        """Apply the probe of each task to the pooled features of one modality.

        Args:
            modality: whose probes are applied.
            pooled: [B, D], where D is the width of that encoder.

        Returns:
            Outputs by task, [B, C].
        """
        return {self._tasks[key]: probe(pooled) for key, probe in self.probe[modality].named_children()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Predict every task from all modalities together.

        Args:
            batch: inputs of all modalities, and which rows have which.

        Returns:
            Outputs by task, [B, C].
        """
        return self.forward_head(self.fuse(batch))

    def fuse(self, batch: Batch) -> Tensor:
        """Encode all modalities, and fuse their features.

        Args:
            batch: inputs of all modalities, and which rows have which.

        Returns:
            Fused vectors [B, D], where D is `fusion.dim`.
        """
        fused: Tensor = self.fusion(self.encode(batch.inputs), batch.present)
        return fused

    def forward_unimodal(self, batch: Batch, modality: str) -> dict[str, Tensor]:
        """Predict every task from one modality alone, with its probes.

        Args:
            batch: inputs of at least that modality.
            modality: whose encoder and probes are used.

        Returns:
            Outputs by task, [B, C].
        """
        return self.forward_probe(modality, self.encode_modality(modality, batch.inputs[modality]).pooled)


def name_parameters(tasks: Iterable[str]) -> dict[str, str]:
    """Return the names of tasks by their names in parameters: without dots, and other than attributes of a ModuleDict.

    Args:
        tasks: names of target columns.

    Raises:
        ConfigError: a name is empty, would be read as part of a metric's name, or is that of another in parameters.
    """
    names: dict[str, str] = {}
    for name in tasks:
        key = name.replace(".", "_")
        key = f"{key}_" if hasattr(nn.ModuleDict(), key) else key
        if not key or key in names:
            other = f" as '{names[key]}' is" if key in names else ""
            raise ConfigError(f"target '{name}': is called '{key}' in names of parameters{other}; rename the column")
        names[key] = name
    with_slash = [name for name in names.values() if "/" in name]
    if with_slash and len(names) > 1:
        raise ConfigError(
            f"target '{with_slash[0]}': with several targets, a / would be read as part of a metric's name; rename the "
            "column"
        )
    return names


def _check_modality(name: str) -> None:
    """Reject what cannot be part of a parameter's name: a dot, and the attributes of a ModuleDict."""
    if not name or "." in name or hasattr(nn.ModuleDict(), name):
        raise ConfigError(
            f"modality '{name}': this cannot be part of a parameter name; rename it, for example 'my_modality'"
        )
