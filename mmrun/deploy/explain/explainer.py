"""Explains rows: the contribution of each modality, and the saliency inside it. Drawing is `page`'s."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from mmrun.data.loader import Loader
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens, read_text
from mmrun.data.store import MappedColumn
from mmrun.deploy.explain.baselines import IMAGE_BASELINES, ImageBaselineName
from mmrun.deploy.explain.contributions import Contributions, check_modalities, compute_contributions
from mmrun.deploy.explain.gradients import Attribution, integrate_gradients
from mmrun.deploy.explain.occlusion import occlude, open_cover
from mmrun.deploy.explain.paths import Path, open_path
from mmrun.deploy.explain.scorer import Scorer
from mmrun.deploy.explain.target import ExplainedTarget
from mmrun.deploy.explain.words import Words, WordSplitter, number_tokens
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.types import Batch, Encoder, Features

Method = Literal["integrated_gradients", "occlusion"]
METHODS: tuple[Method, ...] = ("integrated_gradients", "occlusion")
BASELINES = {  # what covers a part of a modality, by kind; see IMAGE_BASELINES for pictures
    "video": "plain frames of their mean colours",
    "text": "padding",
    "audio": "silence",
    "tabular": "means of the training rows and unknown categories",
    "series": "means of the training rows",
    "points": "a scene without points",
}


@dataclass(frozen=True)
class Saliency:
    """What each part of one modality adds to the explained score of one row.

    Attributes:
        kind: of the modality.
        method: integrated_gradients: values add up to the explained score less `baseline_score`; occlusion: each value
            is how much the score falls when the part is covered.
        values: pixels [H, W] or patches; pixels of all frames side by side [H, TW], or frames [1, T]; words [W]; cells
            of the spectrogram [bands, frames] or windows; columns [F + K]; steps [C, T] or windows.
        baseline_score: score with the whole modality replaced by its baseline.
        gap: sum of the values less what they should add up to; NaN for occlusion.
        names: of the words or columns; empty for other kinds.
        text: as the user wrote it; "" for other kinds.
        spans: begin and end of each word in the text; empty for other kinds.
        picture: the log-mel spectrogram that the encoder reads [bands, frames]; None for other kinds.
    """

    kind: str
    method: Method
    values: np.ndarray
    baseline_score: float
    gap: float
    names: list[str] = field(default_factory=list)
    text: str = ""
    spans: list[tuple[int, int]] = field(default_factory=list)
    picture: np.ndarray | None = None


@dataclass(frozen=True)
class Explanations:
    """Why N rows get their scores.

    Attributes:
        ids: of the rows [N].
        target: name of the explained target.
        outputs: names of its classes, labels or numbers [C].
        scores: probabilities, or numbers in the unit of the target [N, C].
        explained: number of the output that is explained in each row [N].
        empty_scores: its score without any modality [N].
        contributions: exact Shapley values by modality [N], NaN where a row lacks it. In each row they add up to the
            explained score less the empty one.
        saliency: by row, then by modality that the row has.
        notes: what was computed in another way than asked, one line each.
    """

    ids: list[str]
    target: str
    outputs: list[str]
    scores: np.ndarray
    explained: np.ndarray
    empty_scores: np.ndarray
    contributions: dict[str, np.ndarray]
    saliency: list[dict[str, Saliency]]
    notes: list[str]


class Explainer:
    """Explains the predictions of a run.

    Computation is in fp32, whatever the precision of the run, so that attributions add up.

    Args:
        predictor: of the run.
        target: that is explained.
        method: of the saliency; where no gradient reaches the input of an encoder, occlusion replaces it.
        image_baseline: what pictures are compared with.

    Attributes:
        notes: what was computed in another way than asked, one line each.

    Raises:
        ConfigError: the run has too many modalities.
    """

    def __init__(
        self,
        predictor: Predictor,
        target: ExplainedTarget,
        method: Method = "integrated_gradients",
        image_baseline: ImageBaselineName = "mean",
    ) -> None:
        self.predictor, self.target, self.method, self.image_baseline = predictor, target, method, image_baseline
        self.scorer = Scorer(predictor, target.task.name)
        check_modalities(self.scorer.modalities)
        self.notes: list[str] = []

    def describe_baseline(self, kind: str) -> str:
        """Return what the values inside a modality are against."""
        return IMAGE_BASELINES[self.image_baseline].description if kind == "image" else BASELINES[kind]

    def explain(self, rows: Rows) -> Explanations:
        """Explain rows.

        Args:
            rows: few enough that the saliency of all of them fits into memory.

        Raises:
            DataError: a row cannot be decoded.
        """
        numbers = np.arange(len(rows.ids))
        parts = []
        for block in self.predictor.split_blocks(len(rows.ids)):
            columns, good, _ = self.predictor.decode_valid(rows, block)
            parts.append(self.compute_contributions(columns, good))
        contributions = self.join(parts)
        saliency = [inside for _, inside in self.iterate_saliency(rows, numbers, contributions.explained)]
        return Explanations(
            ids=list(rows.ids),
            target=self.target.task.name,
            outputs=self.target.outputs,
            scores=contributions.scores,
            explained=contributions.explained,
            empty_scores=contributions.empty_score,
            contributions=contributions.shapley,
            saliency=saliency,
            notes=list(self.notes),
        )

    def compute_contributions(self, columns: dict[str, MappedColumn], rows: np.ndarray) -> Contributions:
        """Compute the contributions of the modalities.

        Args:
            columns: decoded, by modality.
            rows: numbers of the rows in them [n].
        """
        parts = []
        with torch.no_grad():
            for batch in self._load(columns, rows, self.predictor.config.trainer.eval_batch_size):
                parts.append(compute_contributions(self.scorer, self.target, self.scorer.encode(batch), batch.present))
        return self.join(parts)

    def join(self, parts: Sequence[Contributions]) -> Contributions:
        """Join the contributions in consecutive rows.

        Args:
            parts: in order; none for no rows.
        """
        no_scores, none = np.zeros((0, self.target.task.num_outputs), np.float32), np.zeros(0)
        shapley: dict[str, np.ndarray] = {}
        without: dict[str, np.ndarray] = {}
        for modality in self.scorer.modalities:
            shapley[modality] = np.concatenate([none, *(part.shapley[modality] for part in parts)])
            without[modality] = np.concatenate([none, *(part.without[modality] for part in parts)])
        return Contributions(
            np.concatenate([no_scores, *(part.scores for part in parts)]),
            np.concatenate([none.astype(np.int64), *(part.explained for part in parts)]),
            np.concatenate([none, *(part.empty_score for part in parts)]),
            shapley,
            without,
        )

    def iterate_saliency(
        self, rows: Rows, numbers: np.ndarray, explained: np.ndarray
    ) -> Iterator[tuple[Batch, dict[str, Saliency]]]:
        """Yield each row as a batch, and the saliency inside each modality that it has.

        Args:
            rows: raw values.
            numbers: of the rows to explain [n].
            explained: number of the output that is explained in each of these [n].

        Raises:
            DataError: a row cannot be decoded.
        """
        for number, output in zip(numbers.tolist(), explained.tolist(), strict=True):
            columns, _, _ = self.predictor.decode_valid(rows, np.array([number]))
            [batch] = self._load(columns, np.array([0]), 1)
            with torch.no_grad():
                features = self.scorer.encode(batch)
            saliency: dict[str, Saliency] = {}
            for modality in self.scorer.modalities:
                if batch.present[modality].item():
                    words = self._split_words(modality, rows, number, batch)
                    saliency[modality] = self._explain_modality(modality, batch, features, output, words)
            yield batch, saliency

    def _load(self, columns: dict[str, MappedColumn], rows: np.ndarray, batch_size: int) -> Iterator[Batch]:
        return Loader(columns, {}, rows, batch_size, device=self.predictor.accelerator.device).ordered()

    # ------------------------------------------------------------------------------------------------ one modality

    def _explain_modality(
        self, modality: str, batch: Batch, features: dict[str, Features], output: int, words: Words | None
    ) -> Saliency:
        """Explain one modality of one row; the others are as they are."""
        x, kind = batch.inputs[modality], self.predictor.modalities[modality]["kind"]
        encoder = cast(Encoder, self.predictor.model.encoder[modality])
        device = self.predictor.accelerator.device
        word_of_token = torch.as_tensor(words.word_of_token if words else np.zeros(0, dtype=np.int64), device=device)

        def score(replaced: Features) -> Tensor:  # features of P variants -> [P]
            count = len(replaced.pooled)
            variants = {name: _expand(others, count) for name, others in features.items()}
            variants[modality] = replaced
            present = {name: mask.expand(count) for name, mask in batch.present.items()}
            return self.scorer.score(variants, present)[:, output]

        path: Path | None = None
        attribution: Attribution | None = None
        if self.method == "integrated_gradients":
            path = open_path(encoder, kind, x, word_of_token >= 0, self._pad_id(modality), self.image_baseline)
            with self._allow_gradients():
                attribution = None if path is None else integrate_gradients(path, score, self.target.scale_of(output))
            if attribution is not None and kind == "text":
                attribution = attribution._replace(values=_sum_words(attribution.values, word_of_token.cpu().numpy()))
        method = self.method
        if attribution is None:
            method = "occlusion"
            self._note_occlusion(modality, kind, encoder)
            cover = open_cover(kind, x, word_of_token, self._pad_id(modality), self.image_baseline)
            attribution = occlude(cover, lambda variants: score(self.scorer.encode_modality(modality, variants)))
        names = words.names if words else self._name_columns(modality, len(attribution.values))
        return Saliency(
            kind=kind,
            method=method,
            values=attribution.values,
            baseline_score=attribution.baseline_score,
            gap=attribution.gap,
            names=names if kind in ("text", "tabular") else [],
            text=words.text if words else "",
            spans=words.spans if words else [],
            picture=None if path is None else path.picture,
        )

    def _allow_gradients(self) -> AbstractContextManager[None]:
        """Return a context in which gradients pass: cuDNN's recurrent layers have none in evaluation."""
        is_recurrent = any(isinstance(module, nn.RNNBase) for module in self.predictor.model.modules())
        return torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext()

    def _note_occlusion(self, modality: str, kind: str, encoder: nn.Module) -> None:
        reason = f"no gradient reaches the input of its encoder ({type(encoder).__name__})"
        if kind == "points":
            reason = "no path leads from a scene without points to this one"
        note = f"{modality}: {reason}; occlusion is used"
        if self.method != "occlusion" and note not in self.notes:
            self.notes.append(note)

    def _pad_id(self, modality: str) -> int:
        metadata = self.predictor.fitted.preprocessors[modality].metadata
        return int(metadata.get("pad_id", 0))

    def _split_words(self, modality: str, rows: Rows, number: int, batch: Batch) -> Words | None:
        """Return the words of a text; where its preprocessor is the user's own, each real token is one."""
        if self.predictor.modalities[modality]["kind"] != "text":
            return None
        splitter = self._splitters.get(modality)
        if splitter is not None:
            return splitter.split(read_text(rows.columns[modality].values[number]))
        x = cast(dict[str, Tensor], batch.inputs[modality])
        return number_tokens(x["ids"][0].cpu().numpy(), x["mask"][0].cpu().numpy())

    @cached_property
    def _splitters(self) -> dict[str, WordSplitter]:
        splitters = {}
        for modality, preprocessor in self.predictor.fitted.preprocessors.items():
            if isinstance(preprocessor, Tokens):
                splitters[modality] = WordSplitter(preprocessor.state())
        return splitters

    def _name_columns(self, modality: str, count: int) -> list[str]:
        preprocessor = self.predictor.fitted.preprocessors[modality]
        if isinstance(preprocessor, Cells):
            return [*preprocessor.numeric, *preprocessor.categories]
        return [f"column {number}" for number in range(1, count + 1)]


def is_complete(saliency: Saliency, score: float, scale: float = 1.0) -> bool:
    """Return whether the attributions add up, up to 5 % of the change of the score or 0.5 % of a large change.

    Args:
        saliency: of one modality in one row; that of occlusion need not add up.
        score: of the row.
        scale: a large change of the score.
    """
    change = score - saliency.baseline_score
    return math.isnan(saliency.gap) or abs(saliency.gap) <= max(0.05 * abs(change), 0.005 * scale)


def _expand(features: Features, count: int) -> Features:
    """Return the features of one row as those of several."""
    pooled, tokens, mask = features
    return Features(
        pooled.expand(count, -1),
        None if tokens is None else tokens.expand(count, -1, -1),
        None if mask is None else mask.expand(count, -1),
    )


def _sum_words(values: np.ndarray, word_of_token: np.ndarray) -> np.ndarray:
    """Sum the attributions of tokens [T] by word."""
    num_words = int(word_of_token.max(initial=-1)) + 1
    is_word = word_of_token[: len(values)] >= 0
    return np.bincount(word_of_token[: len(values)][is_word], values[is_word], minlength=num_words)
