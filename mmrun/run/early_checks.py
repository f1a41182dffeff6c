"""What a config alone shows to be impossible. It is said within a second or two: nothing here imports torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mmrun import hub
from mmrun.config import RunConfig, StageConfig
from mmrun.errors import ConfigError

TIMM = "mmrun.models.encoders.timm.Timm"
TRANSFORMERS = "mmrun.models.encoders.hf"  # the beginning of its modules' names
TOKENS = "mmrun.data.preprocess.text.Tokens"

CAUSAL_LM = "mmrun.objectives.causal_lm.CausalLM"
RNN = "mmrun.models.encoders.text.Rnn"
NOT_CAUSAL = {"mmrun.models.encoders.text.Transformer", "mmrun.models.encoders.text.TextCnn"}
WITHOUT_TOKENS = {"mmrun.models.encoders.text.Bow"}

Node = Mapping[str, object]


def check_early(config: RunConfig) -> None:
    """Reject pretext tasks that an encoder cannot learn, and pretrained weights that are nowhere.

    Whatever is not known here is found when the run is built.

    Args:
        config: of a run.

    Raises:
        ConfigError: the run cannot be built.
    """
    for name, stage in config.strategy.stages.items():
        _check_causal(stage, config.encoder, f"strategy.stages.{name}.objective")
    for modality, node in config.encoder.items():
        for kind, model, remedy in _list_models(node):
            if not may_be_cached(model, str(node["_target_"])) and not hub.is_hub_reachable():
                raise ConfigError(f"encoder.{modality}: {hub.explain_unreachable(kind, model, remedy)}")


def _check_causal(stage: StageConfig, encoders: Mapping[str, Node], key_path: str) -> None:
    """Reject causal language modelling with an encoder whose tokens depend on later ones."""
    by_kind = stage.objective.get("by_kind") if stage.objective is not None else None
    pretext = by_kind.get("text") if isinstance(by_kind, Mapping) else None
    if not isinstance(pretext, Mapping) or pretext.get("_target_") != CAUSAL_LM:
        return
    for modality, node in encoders.items():
        encoder, key = str(node["_target_"]), f"encoder.{modality}"
        if encoder in WITHOUT_TOKENS:
            reason = "causal_lm needs one token per input token, and this encoder has none"
        elif encoder in NOT_CAUSAL or (encoder == RNN and node.get("bidirectional", True)):
            reason = "its tokens see the tokens that causal_lm has to predict"
        else:
            continue
        raise ConfigError(
            f"{key_path}: {key}: {reason}; try {key}=gru {key}.bidirectional=false, or {key}=hf {key}.model=gpt2"
        )


def _list_models(node: Node) -> Iterator[tuple[str, str, str]]:
    """Yield what an encoder loads from a hub: what it is, the name of the model, and what else the user can do."""
    encoder, preprocess = str(node["_target_"]), node["preprocess"]
    if encoder == TIMM and node.get("pretrained", True) is True:
        yield "weights for", str(node["model"]), hub.TIMM_REMEDY
    if encoder.startswith(TRANSFORMERS) and "model" in node:
        yield "weights for", str(node["model"]), hub.TRANSFORMERS_REMEDY
    if isinstance(preprocess, Mapping) and preprocess["_target_"] == TOKENS and preprocess.get("tokenizer") is not None:
        yield "the tokenizer's files of", str(preprocess["tokenizer"]), hub.TOKENIZER_REMEDY


def may_be_cached(model: str, encoder: str) -> bool:
    """Return whether the files of a model may lie in the hub's cache or in a folder.

    Args:
        model: name in timm or on the hub, or a folder.
        encoder: class of the encoder.

    Returns:
        False only where nothing there can belong to the model: timm does not name every repository after its model.
    """
    from huggingface_hub import constants

    repositories = [folder.name for folder in Path(constants.HF_HUB_CACHE).glob("models--*")]
    if encoder != TIMM:
        return f"models--{model.replace('/', '--')}" in repositories or Path(model).expanduser().exists()
    family = f"models--timm--{model.partition('_')[0]}"
    return any(name.startswith(family) or not name.startswith("models--timm--") for name in repositories)
