"""Writes the script that predicts with an exported model, where its rows can be read without mmrun."""

import shutil
from pathlib import Path

from mmrun.deploy import predict_onnx
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.synthetic import MAKERS

SCRIPT = "predict_onnx.py"


def write_script(predictor: Predictor, folder: Path) -> list[str]:
    """Write the script beside a model.

    Args:
        predictor: of the run.
        folder: of the model.

    Returns:
        Why it is left out, one line each; empty if it was written.
    """
    notes = _describe_undecodable(predictor)
    if not notes:
        shutil.copyfile(predict_onnx.__file__, folder / SCRIPT)
    return notes


def _describe_undecodable(predictor: Predictor) -> list[str]:
    """Return why the script cannot decode rows, a line each: classes of the user's own, cells that are not plain."""
    lines = []
    for modality, preprocessor in predictor.fitted.preprocessors.items():
        if type(preprocessor) not in MAKERS:
            name = type(preprocessor).__name__
            lines.append(f"encoder.{modality}.preprocess: {name} is a class of your own; {SCRIPT} is left out")
        columns = [name for name in predictor.modalities[modality]["columns"] if name in predictor.record["formats"]]
        if columns:
            lines.append(
                f"{modality}: {', '.join(columns)}: numbers or dates are not written plainly; {SCRIPT} is left out"
            )
    return lines
