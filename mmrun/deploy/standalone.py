"""Writes the script that predicts with an exported model, and beside it the modules of mmrun that read its rows."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import mmrun
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.synthetic import MAKERS, get_item_class

PACKAGE = Path(mmrun.__file__).parent
SCRIPT = "predict_exported.py"
LIBRARY = "lib"
SHEETS = "mmrun.data.sheets"
LATE_IMPORTS = tuple(f"{SHEETS}.{name}" for name in ("arrow", "parquet", "regular_csv"))  # where pyarrow is installed


def write_script(predictor: Predictor, folder: Path, name: str) -> list[str]:
    """Write the script beside a model.

    Args:
        predictor: of the run.
        folder: of the model.
        name: of the script.

    Returns:
        Why it is left out, one line each; empty if it was written.
    """
    notes = _describe_undecodable(predictor, name)
    if not notes:
        script = Path(__file__).with_name(SCRIPT)
        shutil.copyfile(script, folder / name)
        for file in list_modules(script):
            target = folder / LIBRARY / PACKAGE.name / file.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return notes


def list_modules(script: Path) -> list[Path]:
    """Return the files of mmrun that a script needs: those that it imports, that these import, and so on.

    Args:
        script: a file. Imports inside functions and for type checkers alone do not count; see LATE_IMPORTS.
    """
    waiting = [*_iterate_imports(script), *LATE_IMPORTS]
    files: dict[Path, None] = {}
    while waiting:
        name = waiting.pop()
        for file in _locate(name):
            if file not in files:
                files[file] = None
                waiting.extend(_iterate_imports(file))
    return sorted(files)


def _iterate_imports(file: Path) -> Iterator[str]:
    """Yield the modules of mmrun that a file imports at its top level, and the names that it imports from them."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == PACKAGE.name:
            yield str(statement.module)
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _locate(name: str) -> list[Path]:
    """Return the file of a module and those of the packages around it; none if the name is not that of a module."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return []
    packages = [parent / "__init__.py" for parent in file.parents if parent.is_relative_to(PACKAGE)]
    return [*packages, file]


def _describe_undecodable(predictor: Predictor, script: str) -> list[str]:
    """Return which modalities the script cannot decode, and why, a line each."""
    lines = []
    for modality, preprocessor in predictor.preprocessors.items():
        decoder = get_item_class(preprocessor)
        if decoder not in MAKERS:
            name = decoder.__name__
            lines.append(f"encoder.{modality}.preprocess: {name} is a class of your own; {script} is left out")
    return lines
