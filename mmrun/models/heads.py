"""Heads that a strategy chooses in place of those of the fusion."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf_towers import TextTower
from mmrun.models.encoders.pretrained import encode_example
from mmrun.values import Width

INITIAL_DEVIATION = 0.02  # of context vectors


class PromptTunedHead(nn.Module):
    """Compare rows with the names of classes, which follow learned context vectors (CoOp: Zhou et al., 2022).

    The text tower reads [BEGIN] [context] [name of the class] [END]; its embedding of a class, at the model's own
    scale, is the weight of the class. Tower and names are frozen. `context` and `log_scale`, the logarithm of the
    inverse temperature, can be trained.

    Args:
        dim: D, the width of the fused vector, in the space of the towers.
        model: name on the hub, or a local folder.
        class_ids: token ids of each class, special tokens included, without padding.
        prefix_length: special tokens at the beginning, which the context follows.
        pad_id: the token that texts are padded with.
        context: M, the number of context vectors.
        class_specific: whether each class has M context vectors of its own.

    Raises:
        ConfigError: the model cannot be loaded, has no text tower or another space, or cannot read so many tokens.
    """

    ids: Tensor
    mask: Tensor

    def __init__(
        self,
        dim: int,
        model: str,
        class_ids: list[list[int]],
        prefix_length: int,
        pad_id: int,
        context: Width = 16,
        class_specific: bool = False,
    ) -> None:
        super().__init__()
        self.tower = TextTower(model, vocab_size=1 + max(map(max, class_ids)), max_tokens=1, pad_id=pad_id)
        self.tower.requires_grad_(False)
        if self.tower.dim != dim:
            raise ConfigError(
                f"the space of {model} has {self.tower.dim} dimensions, and the fused vector {dim}; list the towers in "
                "modalities=[A,B]"
            )
        num_tokens = context + max(map(len, class_ids))
        length = max(num_tokens, self.tower.longest) if self.tower.reads_padding else num_tokens
        ids, mask = _lay_out(class_ids, prefix_length, context, length, pad_id)
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        tower = self.tower.net.tower
        tokens = tower.get_input_embeddings()
        [place] = [name for name, module in tower.named_modules() if module is tokens]
        tower.set_submodule(place, PromptEmbedding(tokens, ids, prefix_length, context, class_specific))
        self.log_scale = nn.Parameter(torch.tensor([math.log(self.tower.net.scale)]))
        problem = f"head.context: {model} cannot read {num_tokens} tokens, {context} of them context; choose fewer"
        encode_example(self, torch.zeros(1, dim), problem)

    def forward(self, fused: Tensor) -> Tensor:
        """Return the scaled products of fused vectors with the embedded classes.

        Args:
            fused: [B, D]; of length 1 where a row has one modality.

        Returns:
            Logits [B, C].
        """
        names = F.normalize(self.tower({"ids": self.ids, "mask": self.mask}).pooled, dim=1)  # [C, D]
        with torch.autocast(fused.device.type, enabled=False):  # similarities are scaled up: bf16 is too coarse
            return self.log_scale.exp() * fused.float() @ names.float().T

    def train(self, mode: bool = True) -> "PromptTunedHead":
        """Switch to training mode, except for the text tower: it is frozen, and gets no dropout."""
        super().train(mode)
        self.tower.eval()
        return self


def _lay_out(
    class_ids: list[list[int]], prefix_length: int, context: int, length: int, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Return the padded ids of the prompts, and which of them are no padding, both [C, T].

    A token of the name stands where the context goes, so that the tower sees neither padding nor an end there.
    """
    ids = torch.full((len(class_ids), length), pad_id)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for row, name in enumerate(class_ids):
        prompt = [*name[:prefix_length], *[name[prefix_length]] * context, *name[prefix_length:]]
        ids[row, : len(prompt)] = torch.tensor(prompt)
        mask[row, : len(prompt)] = True
    return ids, mask


class PromptEmbedding(nn.Module):
    """Takes the place of a text tower's token embedding: embedded names of classes, behind learned vectors.

    The names are buffers, so that the table of all tokens is not needed any more.

    Args:
        embedding: of the tower.
        ids: of the prompts, with anything in the place of the context [C, T].
        prefix_length: tokens before the context.
        num_vectors: M, of the context.
        class_specific: whether each class has a context of its own.
    """

    prefix: Tensor
    suffix: Tensor

    def __init__(
        self, embedding: nn.Embedding, ids: Tensor, prefix_length: int, num_vectors: int, class_specific: bool
    ) -> None:
        super().__init__()
        with torch.no_grad():
            embedded = embedding(ids)  # [C, T, E]
        self.register_buffer("prefix", embedded[:, :prefix_length].clone())
        self.register_buffer("suffix", embedded[:, prefix_length + num_vectors :].clone())
        shape = (num_vectors, embedded.shape[2])
        self.context = nn.Parameter(torch.empty(len(ids), *shape) if class_specific else torch.empty(shape))
        nn.init.normal_(self.context, std=INITIAL_DEVIATION)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the embedded prompts.

        Args:
            ids: those of the constructor [C, T].

        Returns:
            [C, T, E].
        """
        context = self.context.expand(len(ids), -1, -1)
        return torch.cat([self.prefix, context, self.suffix], dim=1)
