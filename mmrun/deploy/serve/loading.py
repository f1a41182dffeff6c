"""Opens what is to be served: a run, a packed run, or a run that was exported as ONNX."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmrun.deploy.serve.model import ServedModel
from mmrun.errors import ConfigError

if TYPE_CHECKING:
    from mmrun.training.callback import Callback

MODEL, PREPROCESSING = "model.onnx", "preprocess.json"  # of an exported run


def is_exported(path: Path) -> bool:
    """Return whether a path is a folder that `mmrun export --format onnx` wrote."""
    return (path / MODEL).is_file() and (path / PREPROCESSING).is_file()


def open_exported(folder: Path, backend: str | None, scratch: Path) -> ServedModel:
    """Open a run that was exported as ONNX; neither torch nor the run is needed.

    Args:
        folder: that `mmrun export` wrote.
        backend: that the user asked for; None: none.
        scratch: folder below which files lie that come with requests.

    Raises:
        ConfigError: the backend is another one, or a file is not what was written.
    """
    if backend == "torch":
        raise ConfigError(f"{folder}: was exported as ONNX; leave out --backend torch, or serve the run itself")
    from mmrun.deploy.serve.onnx_model import OnnxModel

    return OnnxModel(folder)


def open_run(path: Path, backend: str | None, scratch: Path, callback: "Callback") -> ServedModel:
    """Open a finished run.

    Args:
        path: of its folder, or of an archive that `mmrun pack` wrote.
        backend: torch or onnx; None: torch.
        scratch: an empty folder, for what is unpacked or exported.
        callback: gets messages.

    Raises:
        ConfigError: the run is not finished, or cannot be served.
        DamagedError: its files are not what was written.
        RunError: the exported model differs from the run.
    """
    from mmrun.deploy.pack import unpack
    from mmrun.deploy.predictor import open_predictor
    from mmrun.results.folder import RunFolder

    folder = unpack(path, scratch) if path.is_file() else RunFolder(path)
    predictor = open_predictor(folder, callback, on_cpu=backend == "onnx")
    if backend == "onnx":
        from mmrun.deploy.export import ExportRequest, export

        export(predictor, scratch / "onnx", ExportRequest("onnx", None, None))
        return open_exported(scratch / "onnx", backend, scratch)
    from mmrun.deploy.serve.torch_model import TorchModel

    return TorchModel(predictor)
