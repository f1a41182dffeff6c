"""python -m mmrun.testing my_parts.product.Product [argument=value ...]: run the contract tests on a class."""

import sys

import torch
import yaml

from mmrun import plugins
from mmrun.errors import ConfigError
from mmrun.testing import checks_of


def main(words: list[str]) -> int:
    """Run the checks, print one line each, and return the exit code: 0 all passed, 1 some failed, 2 bad usage."""
    try:
        words, packages = plugins.split_allowed(words)
        plugins.allow(packages)
        if not words or words[0] in ("-h", "--help"):
            print("usage: python -m mmrun.testing PACKAGE.MODULE.CLASS [ARGUMENT=VALUE ...] [--allow PACKAGE]")
            return 0 if words else 2
        path, *assignments = words
        if not plugins.is_allowed(path) and not path.startswith("mmrun."):
            raise ConfigError(f"{path}: allow its package first, with --allow {path.partition('.')[0]}")
        arguments = {}
        for assignment in assignments:
            name, equals, value = assignment.partition("=")
            if not equals:
                raise ConfigError(f"'{assignment}' is not ARGUMENT=VALUE")
            arguments[name] = yaml.safe_load(value)
        checks = checks_of(path, arguments)
    except ConfigError as error:
        print(f"mmrun: {error}", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    failures = 0
    for promise, check in checks:
        try:
            check()
        except Exception as error:
            failures += 1
            reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            print(f"FAILED  {promise}\n        {type(error).__name__}: {reason}")
        else:
            print(f"ok      {promise}")
    print(f"{len(checks) - failures} of {len(checks)} checks passed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
