"""mmrun data preview: training rows as encoders read them, and augmented, in one picture."""

from collections.abc import Sequence
from pathlib import Path

from mmrun.cli.output import echo
from mmrun.cli.table import print_note
from mmrun.errors import ConfigError, nearest

FORMATS = (".png", ".svg", ".pdf")
MAX_ROWS = 50
DEFAULT_ROWS = 6
DEFAULT_OUTPUT = Path("preview.png")


def preview(overrides: Sequence[str], output: Path, num_rows: int, config_dirs: Sequence[str]) -> None:
    """Draw rows before and after augmentation into a file, and print its path.

    Args:
        overrides: of a run, as typed.
        output: .png, .svg or .pdf.
        num_rows: to show.
        config_dirs: folders searched for YAML files first.

    Raises:
        ConfigError: the file's format or the number of rows does not fit, or an override is wrong.
        DataError: the data cannot be used.
    """
    if output.suffix.lower() not in FORMATS:
        formats = f"{nearest(output.suffix, FORMATS)} (there are {', '.join(FORMATS)})"
        raise ConfigError(f"-o {output}: '{output.suffix}' is no format of a picture{formats}")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"-o {output}: there is no folder {output.parent}")
    if not 1 <= num_rows <= MAX_ROWS:
        raise ConfigError(f"--rows: {num_rows} is not a whole number from 1 to {MAX_ROWS}")

    from mmrun import compose
    from mmrun.run import checks
    from mmrun.run.preview import preview_rows

    compose.use_config_dirs(config_dirs)
    config = compose.load(overrides)
    checks.check_nodes(config)
    rows = preview_rows(config, num_rows)

    from mmrun.cli.preview_picture import draw_picture

    draw_picture(rows, output)
    if config.augment is None:
        print_note("nothing is augmented; to see it, add for example augment=light")
    echo(output)
