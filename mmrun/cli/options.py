"""mmrun options: what can be chosen, read from the YAML files without composing them."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmrun import plugins
from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.arguments import add_table_format
from mmrun.config import config_dir
from mmrun.errors import ConfigError, nearest
from mmrun.results.table import Table

HELP = "List the groups of options, the options of a group, or the keys of an option with their default values."

PURPOSES = {  # of the groups; kinds of encoders and pretexts are groups of their own
    "data": ("dataset", "augment"),
    "model": ("model", "encoder", "fusion", "adapter"),
    "method": ("strategy", "objective", "pretext", "balance"),
    "training": ("optimizer", "trainer", "callbacks"),
    "many runs": ("experiment", "sweep"),
}
OTHER = "yours"  # groups of the user


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
        is_users: whether the file is in ./configs, or in an allowed package.
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
    """Declare the arguments."""
    parser.add_argument(
        "group",
        nargs="?",
        metavar="GROUP[=NAME]",
        help="fusion, strategy, encoder.image, or encoder for those of every kind; fusion=gated for the keys of one",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="of an option: fusion gated is fusion=gated")
    add_table_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print all groups, the options of one, or the keys of an option.

    Raises:
        ConfigError: there is no such group or option.
    """
    groups = list_groups()
    if args.group is None:
        print_answer(_describe_groups(groups), args.format)
        return 0
    group, _, name = args.group.partition("=")
    name = args.name or name
    chosen = _choose_groups(group, groups)
    if name:
        print_answer(_describe_option(_choose_option(chosen, name)), args.format)
        return 0
    options = []
    for chosen_group in chosen:
        options += [read_option(chosen_group, name) for name in list_files(chosen_group)]
    print_answer(_describe_options(chosen, options), args.format)
    return 0


def _choose_groups(group: str, groups: Sequence[str]) -> list[str]:
    """Return the groups that a user names: one, or those of every kind."""
    requested = group.replace(".", "/").strip("/")
    chosen = [existing for existing in groups if existing == requested or existing.startswith(f"{requested}/")]
    if not chosen:
        paths = list(map(spell, groups))
        owners = [existing for existing in groups if requested in list_files(existing)]
        if owners:
            raise ConfigError(f"no group '{group}', but an option: mmrun options {spell(owners[0])}={requested}")
        raise ConfigError(f"no group '{group}'{nearest(spell(requested), paths)} (there are {', '.join(paths)})")
    return chosen


def _choose_option(groups: Sequence[str], name: str) -> Option:
    """Read the option of a name in one of several groups."""
    for group in groups:
        if name in list_files(group):
            return read_option(group, name)
    names = [existing for group in groups for existing in list_files(group)]
    raise ConfigError(f"{spell(groups[0])}: no option '{name}'{nearest(name, names)} (there are {', '.join(names)})")


def spell(group: str) -> str:
    """Return a group as overrides name it.

    Args:
        group: its folder: encoder/image.

    Returns:
        encoder.image.
    """
    return group.replace("/", ".")


# ---------------------------------------------------------------------------------------------------- the YAML files


def config_folders() -> list[Path]:
    """List the folders that hold YAML files.

    Returns:
        The user's ./configs, if it exists, those of allowed packages, and last the shipped folder.
    """
    shipped, user_configs = config_dir(), Path.cwd() / "configs"
    folders = [user_configs] if user_configs.is_dir() and user_configs != shipped else []
    return [*folders, *plugins.config_folders(), shipped]


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
    is_users = not file.is_relative_to(config_dir())
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


def _describe_groups(groups: Sequence[str]) -> Answer:
    """List the groups by purpose."""
    rows, records = [], []
    for purpose, members in _sort_by_purpose(groups).items():
        for place, group in enumerate(members):
            names = list(list_files(group))
            rows.append(["" if place else purpose, spell(group), ", ".join(names)])
            records += [{"purpose": purpose, "group": spell(group), "option": name} for name in names]
    document = {spell(group): list(list_files(group)) for group in groups}
    hint = "mmrun options GROUP says what each option is, mmrun options GROUP=NAME which keys it has"
    return Answer([Table("", ["for", "group", "options"], rows, 3), hint], document, records)


def _sort_by_purpose(groups: Sequence[str]) -> dict[str, list[str]]:
    """Return the groups of each purpose."""
    by_purpose: dict[str, list[str]] = {}
    remaining = list(groups)
    for purpose, names in PURPOSES.items():
        by_purpose[purpose] = []
        for name in names:
            by_purpose[purpose] += [group for group in groups if group.split("/")[0] == name]
        remaining = [group for group in remaining if group not in by_purpose[purpose]]
    return by_purpose | ({OTHER: remaining} if remaining else {})


def _describe_options(groups: Sequence[str], options: Sequence[Option]) -> Answer:
    """List the options of some groups, a line each."""
    parts: list[Table | str] = []
    for group in groups:
        members = [option for option in options if option.group == group]
        rows = [[option.name, f"{'(yours) ' if option.is_users else ''}{option.about}"] for option in members]
        parts.append(Table("", [f"{spell(group)}=", "what it is"], rows, 2))
    parts.append(f"mmrun options {spell(groups[0])}=NAME shows the keys of one")
    records = []
    for option in options:
        record = {"group": spell(option.group), "name": option.name, "about": option.about, "file": option.file}
        records.append({**record, "own": option.is_users})
    return Answer(parts, list(map(_to_json, options)), records)


def _describe_option(option: Option) -> Answer:
    """Show an option with its keys."""
    title = f"{spell(option.group)}={option.name}{' (yours)' if option.is_users else ''}  {option.about}"
    rows = [[key.name, key.value, key.comment] for key in option.keys]
    keys = Table("", ["key", "default", ""], rows, 3) if rows else "it has no keys"
    return Answer([title.rstrip(), keys], _to_json(option), [vars(key) for key in option.keys], ["name", "value"])


def _to_json(option: Option) -> Mapping[str, object]:
    return {
        "group": spell(option.group),
        "name": option.name,
        "file": option.file,
        "own": option.is_users,
        "about": option.about,
        "keys": [vars(key) for key in option.keys],
    }
