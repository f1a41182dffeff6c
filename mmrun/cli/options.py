"""mmrun options: what can be chosen, read from the YAML files without composing them."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmrun.cli.arguments import add_table_format
from mmrun.cli.output import echo
from mmrun.cli.table import Table, print_table
from mmrun.config import config_dir
from mmrun.errors import ConfigError, nearest

HELP = "List the groups of options, or the options of one group with their keys and default values."


@dataclass(frozen=True)
class Key:
    """A key that an option sets, and that an override can change.

    Attributes:
        name: dotted.
        value: as written in the file.
        comment: beside it; may be empty.
    """

    name: str
    value: str
    comment: str


@dataclass(frozen=True)
class Option:
    """One YAML file of a group.

    Attributes:
        group: for example encoder/image.
        name: of the file, without suffix.
        file: its path.
        is_users: whether the file is in ./configs.
        about: its first comment line.
        keys: in the order of the file.
    """

    group: str
    name: str
    file: str
    is_users: bool
    about: str
    keys: list[Key]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments.

    Args:
        parser: of this verb.
    """
    parser.add_argument("group", nargs="?", help="fusion, strategy, encoder.image, or encoder for those of every kind")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print all groups, or the options of one.

    Returns:
        The exit code, 0.
    """
    groups = list_groups()
    if args.group is None:
        _print_groups(groups, args.format)
        return 0
    requested = args.group.replace(".", "/").strip("/")
    chosen = [group for group in groups if group == requested or group.startswith(f"{requested}/")]
    if not chosen:
        raise ConfigError(f"no group '{args.group}'{nearest(requested, groups)} (there are {', '.join(groups)})")
    options = []
    for group in chosen:
        options += [read_option(group, name) for name in list_files(group)]
    if args.format == "json":
        echo(json.dumps([_to_json(option) for option in options], indent=1))
    else:
        echo("\n\n".join(map(_format_option, options)))
    return 0


# ---------------------------------------------------------------------------------------------------- the YAML files


def config_folders() -> list[Path]:
    """List the folders that hold YAML files.

    Returns:
        The user's ./configs, if it exists, then the shipped folder.
    """
    shipped, user_configs = config_dir(), Path.cwd() / "configs"
    return [user_configs, shipped] if user_configs.is_dir() and user_configs != shipped else [shipped]


def list_groups() -> list[str]:
    """List all groups.

    Returns:
        Their names, sorted: dataset, encoder/audio, encoder/image ...
    """
    groups = set()
    for folder in config_folders():
        groups |= {str(file.parent.relative_to(folder)) for file in folder.rglob("*/*.yaml")}
    return sorted(groups)


def list_files(group: str) -> dict[str, Path]:
    """List the YAML files of a group. A file of the user replaces the shipped file of the same name.

    Args:
        group: for example encoder/image.

    Returns:
        Paths by name without suffix, sorted.
    """
    files: dict[str, Path] = {}
    for folder in reversed(config_folders()):
        files |= {file.stem: file for file in (folder / group).glob("*.yaml")}
    return dict(sorted(files.items()))


def read_option(group: str, name: str) -> Option:
    """Read one YAML file of a group.

    Args:
        group: for example encoder/image.
        name: of the file, without suffix.

    Returns:
        What the file says about itself, and its keys.

    Raises:
        ConfigError: the file is not YAML.
    """
    file = list_files(group)[name]
    text = file.read_text(encoding="utf-8")
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    about = next((comment for comment in comments if not comment.startswith("@package")), "")
    folders = config_folders()
    is_users = len(folders) > 1 and file.is_relative_to(folders[0])
    return Option(group, name, str(file), is_users, about, list(_read_keys(text, file)))


def _read_keys(text: str, file: Path) -> Iterator[Key]:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if root is None:  # an empty file
        return
    for name, node in _iterate_leaves(root, ""):
        if name == "defaults":
            for item in node.value:
                yield from _read_default(item, text)
        elif name.rpartition(".")[2] != "_target_":
            yield Key(name, _source(node, text), _read_comment(node, text))


def _read_default(item: yaml.Node, text: str) -> Iterator[Key]:
    """Return the key that an item of a defaults list chooses an option for."""
    if isinstance(item, yaml.MappingNode):
        for key, value in item.value:
            yield Key(key.value.rpartition("@")[2].split("/")[-1], _source(value, text), "")


def _iterate_leaves(node: yaml.Node, prefix: str) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from _iterate_leaves(value, f"{prefix}{key.value}.")
        else:
            yield f"{prefix}{key.value}", value


def _source(node: yaml.Node, text: str) -> str:
    """Return the text of a node; a block list is written in one line."""
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return f"[{', '.join(_source(item, text) for item in node.value)}]"
    return text[node.start_mark.index : node.end_mark.index].strip()


def _read_comment(node: yaml.Node, text: str) -> str:
    line = text[node.end_mark.index :].split("\n", 1)[0]
    return line.partition("#")[2].strip()


# ----------------------------------------------------------------------------------------------------------- printing


def _to_json(option: Option) -> Mapping[str, object]:
    return {
        "group": option.group,
        "name": option.name,
        "file": option.file,
        "own": option.is_users,
        "about": option.about,
        "keys": [vars(key) for key in option.keys],
    }


def _print_groups(groups: Sequence[str], format: str) -> None:
    names = {group.replace("/", "."): list(list_files(group)) for group in groups}
    if format == "json":
        echo(json.dumps(names, indent=1))
    else:
        print_table(
            Table("", ["group", "options"], [[group, ", ".join(options)] for group, options in names.items()], 2)
        )


def _format_option(option: Option) -> str:
    path = option.group.replace("/", ".")
    title = f"{path}={option.name}{' (yours)' if option.is_users else ''}  {option.about}"
    lines = [title.rstrip()]
    settings = [f"{key.name}: {key.value}" for key in option.keys]
    width = max(map(len, settings), default=0)
    for key, setting in zip(option.keys, settings, strict=True):
        lines.append(f"    {setting:{width}}  {key.comment}".rstrip())
    return "\n".join(lines)
