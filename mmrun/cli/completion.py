"""mmrun completion: tab completion of verbs, flags, groups, options and keys. It reads YAML without importing Hydra."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import yaml

from mmrun.cli import FIRST_WORDS, VERBS, build_parser
from mmrun.cli import options as yaml_files
from mmrun.cli.output import echo
from mmrun.config import BudgetConfig, RunConfig, StageConfig, TrainerConfig
from mmrun.values import list_choices

HELP = "Print a script for tab completion. Add the line for your shell, shown below, to its startup file."

EPILOG = """\
  eval "$(mmrun completion bash)"    in ~/.bashrc
  eval "$(mmrun completion zsh)"     in ~/.zshrc"""

BASH = """\
_mmrun() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} word start
    COMPREPLY=($(mmrun completion --words "$line" 2>/dev/null))
    word=${line##* }
    if [[ $COMP_WORDBREAKS == *=* && $word == *=* ]]; then  # bash completes only what follows the last "="
        start=${word%"${word##*=}"}
        COMPREPLY=("${COMPREPLY[@]#"$start"}")
    fi
    if [[ ${COMPREPLY[0]} == *[=./] ]]; then compopt -o nospace 2>/dev/null; fi
    return 0
}
complete -o default -F _mmrun mmrun
"""

ZSH = """\
autoload -U +X compinit && compinit
_mmrun() {
    local word
    local -a whole open
    for word in ${(f)"$(mmrun completion --words "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)"}; do
        if [[ $word == *[=./] ]]; then open+=("$word"); else whole+=("$word"); fi
    done
    (( $#whole + $#open )) || { _files; return }
    (( $#whole )) && compadd -a whole
    (( $#open )) && compadd -S '' -a open
}
compdef _mmrun mmrun
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("shell", nargs="?", choices=["bash", "zsh"], default="bash", help="default: bash")
    parser.add_argument("--words", metavar="LINE", help=argparse.SUPPRESS)  # the script passes the line typed so far


def run(args: argparse.Namespace) -> int:
    """Print the script, or the completions that the script asks for."""
    if args.words is not None:
        echo("\n".join(complete(args.words)))
    else:
        echo(BASH if args.shell == "bash" else ZSH, end="")
    return 0


def complete(line: str) -> list[str]:
    """Complete the last word of a command line.

    Args:
        line: from the program to the cursor.

    Returns:
        Every word that the last word may become, sorted.
    """
    _, *words = line.split(" ")
    if not words:
        return []
    *previous, last = words
    return sorted({word for word in _list_candidates(previous, last) if word.startswith(last)})


def _list_candidates(previous: Sequence[str], last: str) -> Iterable[str]:
    if not previous:
        verbs = [verb.split(" ")[0] for verb in VERBS]
        return ["-h", "--help", "--version"] if last.startswith("-") else verbs
    if previous[0] in FIRST_WORDS:
        if len(previous) == 1:
            return [verb.split(" ")[1] for verb in VERBS if verb.startswith(f"{previous[0]} ")]
        previous = [" ".join(previous[:2]), *previous[2:]]
    verb = previous[0]
    if verb not in VERBS:
        return []
    actions = build_parser(verb)._actions  # argparse has no public way to list them
    flags = _flags_by_name(actions)
    if previous[-1] in flags and flags[previous[-1]].choices is not None:
        return flags[previous[-1]].choices or []
    if last.startswith("-"):
        return flags
    if verb in ("train", "data preview"):
        return _complete_override(previous, last)
    if verb == "options":
        return _complete_option(last)
    if verb == "data prepare":
        return _list_benchmarks() if len(previous) == 1 else []
    candidates: list[str] = []
    for action in actions:
        if not action.option_strings:
            candidates += _list_runs() if action.metavar == "RUN" else action.choices or ()
    return candidates


def _complete_option(last: str) -> list[str]:
    """Complete a group, or the name after it: fusion=gated."""
    group, equals, _ = last.partition("=")
    if equals:
        return [f"{group}={name}" for name in yaml_files.list_files(group.replace(".", "/"))]
    return list(map(yaml_files.spell, yaml_files.list_groups()))


def _flags_by_name(actions: Iterable[argparse.Action]) -> dict[str, argparse.Action]:
    flags: dict[str, argparse.Action] = {}
    for action in actions:
        if action.help != argparse.SUPPRESS:
            flags |= dict.fromkeys(action.option_strings, action)
    return flags


def _list_benchmarks() -> Iterable[str]:
    from mmrun.data.benchmarks.catalog import BENCHMARKS

    return BENCHMARKS


def _list_runs() -> list[str]:
    from mmrun.results.index import OUTPUTS, find_runs

    return [run.name for run in find_runs(OUTPUTS)] if OUTPUTS.is_dir() else []


# ----------------------------------------------------------------------------------------------- overrides of `train`


def _complete_override(previous: Sequence[str], last: str) -> list[str]:
    """Complete a key up to its next dot, or the value after the last comma."""
    sign = last[: len(last) - len(last.lstrip("+~"))]
    key, equals, value = last.removeprefix(sign).partition("=")
    chosen = dict(word.split("=", 1) for word in previous if "=" in word)
    groups = _groups_by_path(chosen)
    if equals:
        *values, _ = value.split(",")  # of a sweep
        prefix = f"{sign}{key}={','.join([*values, ''])}"
        return [prefix + name for name in _list_values(key.replace("/", "."), groups)]
    return [sign + _cut_at_dot(word, len(key)) for word in _list_keys(key, groups, chosen) if word.startswith(key)]


def _cut_at_dot(word: str, start: int) -> str:
    """Cut a word after its next dot, so that each Tab completes one level."""
    dot = word.find(".", start)
    return word if dot < 0 else word[: dot + 1]


def _groups_by_path(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the group of each path of a node: fusion for fusion, encoder/image for encoder.front."""
    top_level_keys = {field.name for field in fields(RunConfig)}
    groups = {}
    for group in yaml_files.list_groups():
        if group.split("/")[0] in top_level_keys:
            groups[group.replace("/", ".")] = group
    if "dataset" in chosen and chosen["dataset"] in yaml_files.list_files("dataset"):
        for key in yaml_files.read_option("dataset", chosen["dataset"]).keys:
            if key.name == "kinds":
                for modality, kind in yaml.safe_load(key.value).items():
                    groups[f"encoder.{modality}"] = f"encoder/{kind}"
    return groups


def _list_keys(typed: str, groups: Mapping[str, str], chosen: Mapping[str, str]) -> list[str]:
    keys = [field.name for field in fields(RunConfig) if field.type is not Any and field.default is not MISSING]
    keys += groups
    keys += [f"budget.{field.name}" for field in fields(BudgetConfig)]
    for path, group in groups.items():
        keys += _list_keys_of_node(path, group, chosen) if typed.startswith(f"{path}.") else [f"{path}."]
    for stage in {key.rsplit(".", 1)[0] for key in keys if key.startswith("strategy.stages.")}:
        keys += [f"{stage}.{field.name}" for field in fields(StageConfig)]
    return [key if key.endswith(".") else f"{key}=" for key in keys]


def _list_keys_of_node(path: str, group: str, chosen: Mapping[str, str]) -> list[str]:
    """Return the keys of the chosen option, or of every option in the group."""
    names = list(yaml_files.list_files(group))
    if path in chosen and chosen[path] in names:
        names = [chosen[path]]
    keys = []
    for name in names:
        keys += [f"{path}.{key.name}" for key in yaml_files.read_option(group, name).keys]
    return keys


def _list_values(path: str, groups: Mapping[str, str]) -> Iterable[str]:
    last_key = path.rpartition(".")[2]
    if path in groups:
        return yaml_files.list_files(groups[path])
    if path.startswith("strategy.stages.") and last_key in ("objective", "optimizer"):
        return yaml_files.list_files(last_key)
    for prefix, part in (("trainer.", TrainerConfig), ("strategy.stages.", StageConfig)):
        if path.startswith(prefix):
            return list_choices(get_type_hints(part, include_extras=True).get(last_key))
    return []
