"""mmrun data preview: training rows as encoders read them, and augmented, in one picture."""

import argparse
from pathlib import Path

from mmrun.cli.arguments import add_overrides, check_folder, parse_number
from mmrun.cli.output import echo
from mmrun.cli.table import print_note
from mmrun.errors import ConfigError, nearest
from mmrun.values import Range

FORMATS = (".png", ".svg", ".pdf")
MAX_ROWS = 50
DEFAULT_ROWS = 6
DEFAULT_OUTPUT = Path("preview.png")


HELP = "Draw training rows as encoders read them, and as augmentation changes them, in one picture."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_overrides(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=DEFAULT_OUTPUT,
        metavar="FILE",
        help=f"a .png, .svg or .pdf file (default: {DEFAULT_OUTPUT})",
    )
    parser.add_argument(
        "--rows",
        type=parse_number(int, Range(at_least=1, at_most=MAX_ROWS)),
        default=DEFAULT_ROWS,
        metavar="N",
        help=f"rows to show (default: {DEFAULT_ROWS})",
    )


def run(args: argparse.Namespace) -> int:
    """Draw the rows before and after augmentation into a file, and print its path.

    Raises:
        ConfigError: the file's format or the number of rows does not fit, or an override is wrong.
        DataError: the data cannot be used.
    """
    output, num_rows = args.output, args.rows
    if output.suffix.lower() not in FORMATS:
        formats = f"{nearest(output.suffix, FORMATS)} (there are {', '.join(FORMATS)})"
        raise ConfigError(f"-o {output}: '{output.suffix}' is no format of a picture{formats}")
    check_folder(output)

    from mmrun import compose
    from mmrun.run import checks
    from mmrun.run.preview import preview_rows

    compose.use_config_dirs(args.config_dir)
    config = compose.load(args.overrides)
    checks.check_nodes(config)
    rows = preview_rows(config, num_rows)

    from mmrun.cli.preview_picture import draw_picture

    draw_picture(rows, output)
    if config.augment is None:
        print_note("nothing is augmented; to see it, add for example augment=light")
    echo(output)
    return 0
