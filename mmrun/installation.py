"""How to install what is missing, for the Python that runs mmrun."""

import shlex
import sys
from importlib.metadata import distributions
from pathlib import Path


def format_pip_command(action: str, *arguments: str) -> str:
    """Return a pip command that acts on the environment from which mmrun runs, activated or not.

    Args:
        action: of pip, such as "install".
        arguments: of the action, not quoted.

    Returns:
        ".venv/bin/python -m pip install optuna" in a checkout; uv's command where the environment has no pip.
    """
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    # Not find_spec("pip"): setuptools then leaves distutils alone in this process, and torch.compile fails later
    if not any(distributions(name="pip")):
        return shlex.join(["uv", "pip", action, "--python", str(python), *arguments])
    return shlex.join([str(python), "-m", "pip", action, *arguments])


def format_venv_command(extra: str) -> str:
    """Return the command that installs mmrun with an extra into an environment of its own, called like the extra.

    Args:
        extra: whose libraries need other versions than those of the environment from which mmrun runs.
    """
    root = Path(__file__).parents[1]
    source = str(root) if (root / "pyproject.toml").is_file() else "mmrun"
    return f"python3 -m venv {extra} && {shlex.join([f'{extra}/bin/pip', 'install', f'{source}[{extra}]'])}"
