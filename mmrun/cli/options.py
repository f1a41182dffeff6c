"""`mmrun options`: what may be chosen, read from the YAML files alone."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mmrun.cli.table import print_table
from mmrun.config import config_dir
from mmrun.errors import ConfigError, nearest

HELP = "List the groups of options, or the options of a group with their keys and default values."


@dataclass(frozen=True)
class Key:
    """A key that an option sets, so that it may be set on the shell."""

    name: str  # dotted
    value: str  # as the file writes it
    comment: str


@dataclass(frozen=True)
class Option:
    """One YAML file of a group."""

    group: str  # encoder/image
    name: str
    file: str
    own: bool  # it lies in ./configs
    about: str
    keys: list[Key]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("group", nargs="?", help="fusion, strategy, encoder.image, or encoder for all kinds of them")
    parser.add_argument("--format", choices=["table", "json"], default="table")


def run(args: argparse.Namespace) -> int:
    """Print the groups, or the options of one."""
    known = groups()
    if args.group is None:
        _print_groups(known, args.format)
        return 0
    wanted = args.group.replace(".", "/").strip("/")
    chosen = [group for group in known if group == wanted or group.startswith(f"{wanted}/")]
    if not chosen:
        raise ConfigError(f"no group '{args.group}'{nearest(wanted, known)} (there are {', '.join(known)})")
    options = [read(group, name) for group in chosen for name in files(group)]
    if args.format == "json":
        print(json.dumps([asdict(option) for option in options], indent=1))
    else:
        print("\n\n".join(_in_words(option) for option in options))
    return 0


# ------------------------------------------------------------------------------------------------------ the YAML files


def config_folders() -> list[Path]:
    """Return the folders that hold YAML, the user's own ./configs before the shipped one."""
    shipped, own = config_dir(), Path.cwd() / "configs"
    return [own, shipped] if own.is_dir() and own != shipped else [shipped]


def groups() -> list[str]:
    """Return the names of all groups: dataset, encoder/audio, encoder/image ..."""
    found = {file.parent.relative_to(folder) for folder in config_folders() for file in folder.rglob("*/*.yaml")}
    return sorted(str(group) for group in found)


def files(group: str) -> dict[str, Path]:
    """Return the YAML files of a group by name; the user's stand for the shipped ones of the same name."""
    found = {file.stem: file for folder in reversed(config_folders()) for file in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))


def read(group: str, name: str) -> Option:
    """Read an option."""
    file = files(group)[name]
    text = file.read_text(encoding="utf-8")
    comments = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
    about = next((line for line in comments if not line.startswith("@package")), "")
    own = file.is_relative_to(config_folders()[0]) and len(config_folders()) > 1
    return Option(group, name, str(file), own, about, list(_keys(text, file)))


def _keys(text: str, file: Path) -> Iterator[Key]:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if root is None:  # an empty file
        return
    for name, node in _leaves(root, ""):
        if name == "defaults":
            for item in node.value:
                for chosen, value in item.value if isinstance(item, yaml.MappingNode) else ():
                    place = chosen.value.rpartition("@")[2].split("/")[-1]
                    yield Key(place, _source(value, text), "")
        elif name.rpartition(".")[2] != "_target_":
            yield Key(name, _source(node, text), _comment(node, text))


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.value:
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            yield from _leaves(value, f"{place}{key.value}.")
        else:
            yield f"{place}{key.value}", value


def _source(node: Any, text: str) -> str:
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return f"[{', '.join(_source(item, text) for item in node.value)}]"
    return text[node.start_mark.index : node.end_mark.index].strip()


def _comment(node: Any, text: str) -> str:
    rest = text[node.end_mark.index :].split("\n", 1)[0]
    return rest.partition("#")[2].strip()


# ------------------------------------------------------------------------------------------------------------ in words


def _print_groups(known: list[str], form: str) -> None:
    names = {group.replace("/", "."): list(files(group)) for group in known}
    if form == "json":
        print(json.dumps(names, indent=1))
    else:
        print_table(["group", "options"], [[group, ", ".join(options)] for group, options in names.items()], left=2)


def _in_words(option: Option) -> str:
    place = option.group.replace("/", ".")
    head = f"{place}={option.name}{' (yours)' if option.own else ''}  {option.about}".rstrip()
    width = max((len(f"{key.name}: {key.value}") for key in option.keys), default=0)
    lines = [f"{f'{key.name}: {key.value}':{width}}  {key.comment}".rstrip() for key in option.keys]
    return "\n".join([head, *(f"    {line}" for line in lines)])
