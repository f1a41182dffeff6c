"""Text: predict each token from those before it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.objectives.pretext import Pretext
from mmrun.types import Features


class CausalLM(Pretext):
    """Causal language modelling (Radford et al., 2018). The encoder's tokens must not depend on later input tokens.

    Args:
        dim: width of the encoder's tokens.
        vocab_size: V, number of token ids.
    """

    alone = True

    def __init__(self, dim: int, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, vocab_size))

    def check(self, encoder: nn.Module, key_path: str) -> None:
        """Reject an encoder whose tokens depend on later input tokens; it is tried on three texts with the same start.

        Args:
            encoder: of texts; its mode and the random state are left as they are.
            key_path: of the encoder in the config, for the message.

        Raises:
            ConfigError: the encoder has no tokens, or they depend on later ones.
        """
        device = next(encoder.parameters()).device
        last = torch.tensor([[1, 2, 3, 4], [1, 2, 5, 6], [1, 2, 3, 4]], device=device)  # from the vocabulary's end
        real = torch.tensor([[True] * 4, [True] * 4, [True, True, False, False]], device=device)
        modes = [(module, module.training) for module in encoder.modules()]
        encoder.eval()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            tokens = encoder({"ids": (-last) % self.vocab_size, "mask": real}).tokens
        for module, mode in modes:
            module.training = mode
        advice = f"try {key_path}=gru {key_path}.bidirectional=false, or {key_path}=hf {key_path}.model=gpt2"
        if tokens is None or tokens.shape[1] != last.shape[1]:
            raise ConfigError(
                f"{key_path}: causal_lm needs one token per input token, and this encoder has none; {advice}"
            )
        first_tokens = tokens[:, :2]
        if not torch.allclose(first_tokens, first_tokens[:1].expand_as(first_tokens), rtol=1e-4, atol=1e-5):
            raise ConfigError(f"{key_path}: its tokens see the tokens that causal_lm has to predict; {advice}")

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the mean cross-entropy over a row's real tokens but the first, [B].

        Args:
            features: tokens [B, T, D].
            target: the text, ids and mask [B, T].
        """
        assert features.tokens is not None  # by check
        words, real = target["ids"][:, 1:], target["mask"][:, 1:]  # [B, T - 1]
        logits = self.head(features.tokens[:, :-1]).float()  # [B, T - 1, V]
        losses = F.cross_entropy(logits.transpose(1, 2), words, reduction="none")
        return (losses * real).sum(1) / real.sum(1).clamp(min=1)
