"""Dynamic decision-level fusions: in each row, a modality counts by how sure it is."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmrun.models.fusions.late import DecisionFusion, check_several_outputs
from mmrun.models.fusions.presence import build_projections, mask_pooled, masked_softmax, project_pooled
from mmrun.types import Features, UnimodalDecision
from mmrun.values import Width


class SharedHead(DecisionFusion):
    """The fusion of MLA (Zhang, Yoon, Bansal & Yao, 2024): one classifier for all modalities, weighted by entropy.

    Every modality is projected to a common width and classified by the same linear layer. The logits are averaged with
    weights proportional to exp(-entropy) of each modality's softmax. No gradient passes through the weights.

    Args:
        dims: D_m, the width of each modality's features.
        num_outputs: C, the outputs of the single task, at least 2; also the width of the fused vector.
        dim: D, the common width.

    Raises:
        ConfigError: there is one output, as in regression, which has no entropy.
    """

    needs_classes = True

    def __init__(self, dims: dict[str, int], num_outputs: int, dim: Width = 128) -> None:
        super().__init__()
        check_several_outputs("mla", num_outputs)
        self.dim = num_outputs
        self.project = build_projections(dims, dim)
        self.classifier = nn.Linear(dim, num_outputs)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Classify each modality and average the logits.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Logits [B, C]; zeros where a row has no modality.
        """
        vectors, mask = project_pooled(self.project, features, present)  # [B, M, D], [B, M]
        logits = self.classifier(torch.where(mask[..., None], vectors, 0.0))  # [B, M, C]
        log_probs = logits.detach().float().log_softmax(2)
        entropy = -(log_probs.exp() * log_probs).sum(2)  # [B, M]
        weights = masked_softmax(-entropy, mask, dim=1)
        fused: Tensor = (weights.to(logits.dtype)[..., None] * logits).sum(1)
        return fused


class Pdf(DecisionFusion):
    """PDF, predictive dynamic fusion (Cao, Xia, Ding, Zhang & Hu, 2024): logits weighted by predicted confidence.

    Beside a linear classifier, each modality has a network that predicts the probability p of the true class. Its
    weight is the softmax over the modalities of the co-belief, the sum of the mono-confidence p and of the
    holo-confidence, the share of the others in the sum of all log p: it rises where the others are unsure. In
    evaluation, the co-belief of a modality whose distribution is closer to uniform than the mean of the others is
    reduced by the ratio of the two distances: relative calibration. No gradient passes through the weights.

    Objectives that compute task losses teach each classifier, and each network the probability that its modality's
    classifier gives the true class (`decide_alone`).

    Args:
        dims: D_m, the width of each modality's features.
        num_outputs: C, the outputs of the single task, at least 2; also the width of the fused vector.
        confidence_dim: hidden width of the networks that predict confidence.

    Raises:
        ConfigError: there is one output, as in regression, which has no true class.
    """

    needs_classes = True

    def __init__(self, dims: dict[str, int], num_outputs: int, confidence_dim: Width = 64) -> None:
        super().__init__()
        check_several_outputs("pdf", num_outputs)
        self.dim = num_outputs
        self.logits = build_projections(dims, num_outputs)
        self.confidence = nn.ModuleDict()
        for name, width in dims.items():
            layers = nn.Linear(width, confidence_dim), nn.ReLU(), nn.Linear(confidence_dim, 1)
            self.confidence[name] = nn.Sequential(*layers)

    def forward(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:
        """Weight the logits and sum them.

        Args:
            features: by modality, pooled [B, D_m].
            present: by modality, [B] bool.

        Returns:
            Logits without their bias [B, C].
        """
        logits, mask = project_pooled(self.logits, features, present)  # [B, M, C], [B, M]
        with torch.no_grad():
            belief = compute_co_belief(self._score_confidence(features, present), mask)
            if not self.training:
                belief = belief * compute_calibration(logits, mask)
            weights = masked_softmax(belief, mask, dim=1)
        return (weights.to(logits.dtype)[..., None] * logits).sum(1)

    def decide_alone(self, features: dict[str, Features], present: dict[str, Tensor]) -> dict[str, UnimodalDecision]:
        """Return each modality's logits and predicted confidence; see `Fusion.decide_alone`."""
        logits, _ = project_pooled(self.logits, features, present)
        confidence = self._score_confidence(features, present).sigmoid()
        decisions = {}
        for number, name in enumerate(self.logits):
            decisions[name] = UnimodalDecision(logits[:, number], confidence[:, number])
        return decisions

    def _score_confidence(self, features: dict[str, Features], present: dict[str, Tensor]) -> Tensor:  # [B, M]
        """Return the logit of each modality's confidence, which does not train the encoder."""
        scores = []
        for name, network in self.confidence.items():
            scores.append(network(mask_pooled(features[name], present[name]).detach()))
        return torch.cat(scores, dim=1).float()


def compute_co_belief(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of mono- and holo-confidence (PDF: Cao et al., 2024).

    Args:
        scores: logits of the predicted confidence [B, M].
        mask: [B, M] bool, True where present.

    Returns:
        [B, M]; alone in its row, a modality has no holo-confidence.
    """
    log_confidence = F.logsigmoid(scores).where(mask, 0.0)
    total = log_confidence.sum(1, keepdim=True)
    holo_confidence = (total - log_confidence) / total.clamp(max=-1e-8)
    return scores.sigmoid() + holo_confidence


def compute_calibration(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the factor of relative calibration, 1 for a modality as far from uniform as the others are on average.

    Args:
        logits: [B, M, C].
        mask: [B, M] bool, True where present.

    Returns:
        [B, M], 0..1.
    """
    probs = logits.float().softmax(2)
    distance = (probs - 1 / probs.shape[2]).abs().mean(2).where(mask, 0.0)
    num_others = mask.sum(1, keepdim=True) - mask.int()
    others = (distance.sum(1, keepdim=True) - distance) / num_others.clamp(min=1)
    return torch.where(num_others > 0, distance / others.clamp(min=1e-8), 1.0).clamp(max=1.0)
