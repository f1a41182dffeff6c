"""python -m mmrun.testing my_parts.product.Product [argument=value ...]: run the contract checks on a class."""

import sys
from collections.abc import Callable

import torch
import yaml

from mmrun import plugins
from mmrun.errors import ConfigError
from mmrun.testing import checks_of


def main(arguments: list[str]) -> int:
    """Run the contract checks of a class, and print one line per check.

    Args:
        arguments: of the command line.

    Returns:
        the exit code: 0 all checks passed, 1 some failed, 2 bad usage.
    """
    try:
        arguments, packages = plugins.split_allowed(arguments)
        plugins.allow(packages)
        if not arguments or arguments[0] in ("-h", "--help"):
            print("usage: python -m mmrun.testing PACKAGE.MODULE.CLASS [ARGUMENT=VALUE ...] [--allow PACKAGE]")
            return 0 if arguments else 2
        path, *assignments = arguments
        if not plugins.is_allowed(path) and not path.startswith("mmrun."):
            raise ConfigError(f"{path}: allow its package first, with --allow {path.partition('.')[0]}")
        checks = checks_of(path, _parse_assignments(assignments))
    except ConfigError as error:
        print(f"mmrun: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    failures = 0
    for description, check in checks:
        if not _run_check(description, check):
            failures += 1
    print(f"{len(checks) - failures} of {len(checks)} checks passed")
    return 1 if failures else 0


def _parse_assignments(assignments: list[str]) -> dict[str, object]:
    """Parse ARGUMENT=VALUE; values are YAML."""
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"'{assignment}' is not ARGUMENT=VALUE")
        values[name] = yaml.safe_load(value)
    return values


def _run_check(description: str, check: Callable[[], None]) -> bool:
    """Run a check, print its result, and return whether it passed."""
    try:
        check()
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        print(f"FAILED  {description}\n        {type(error).__name__}: {reason}")
        return False
    print(f"ok      {description}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
