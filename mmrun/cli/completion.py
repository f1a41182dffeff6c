"""`mmrun completion`: the Tab key knows verbs, flags, groups, options and keys. It reads YAML and imports no Hydra."""

import argparse
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

import yaml

from mmrun.cli import VERBS, verb_parser
from mmrun.cli import options as yaml_files
from mmrun.config import ONE_OF, BudgetConfig, RunConfig, StageConfig

HELP = "Print a script that gives the shell tab completion; put the line of your shell, as below, in its start file."

BASH = """\
_mmrun() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT} word start
    COMPREPLY=($(mmrun completion --words "$line" 2>/dev/null))
    word=${line##* }
    if [[ $COMP_WORDBREAKS == *=* && $word == *=* ]]; then  # bash completes what stands behind the last "="
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
    parser.epilog = (
        '  eval "$(mmrun completion bash)"    in ~/.bashrc\n  eval "$(mmrun completion zsh)"     in ~/.zshrc'
    )
    parser.add_argument("shell", nargs="?", choices=["bash", "zsh"], default="bash")
    parser.add_argument("--words", metavar="LINE", help=argparse.SUPPRESS)  # what the script asks


def run(args: argparse.Namespace) -> int:
    """Print the script, or what may stand at the end of a line."""
    if args.words is not None:
        print("\n".join(complete(args.words)))
    else:
        print(BASH if args.shell == "bash" else ZSH, end="")
    return 0


def complete(line: str) -> list[str]:
    """Return the words that the last word of a line may become."""
    _, *words = line.split(" ")
    if not words:
        return []
    *before, last = words
    return sorted({word for word in _possible(before, last) if word.startswith(last)})


def _possible(before: list[str], last: str) -> Iterable[str]:
    if not before:
        return ["-h", "--help", "--version"] if last.startswith("-") else VERBS
    verb = before[0]
    if verb not in VERBS:
        return []
    actions = verb_parser(verb)._actions  # argparse has no public way to ask
    flags = {flag: action for action in actions if action.help != argparse.SUPPRESS for flag in action.option_strings}
    if before[-1] in flags and flags[before[-1]].choices is not None:
        return flags[before[-1]].choices or []
    if last.startswith("-"):
        return flags
    if verb == "train":
        return _train_words(before, last)
    if verb == "options":
        return [group.replace("/", ".") for group in yaml_files.groups()]
    if verb in ("show", "resume"):
        return _runs()
    return [word for action in actions if not action.option_strings for word in action.choices or ()]


def _runs() -> list[str]:
    from mmrun.results.index import OUTPUTS, find_runs

    return [found.name for found in find_runs(OUTPUTS)] if OUTPUTS.is_dir() else []


# ------------------------------------------------------------------------------------------- the words of `train`


def _train_words(before: list[str], last: str) -> list[str]:
    sign = last[: len(last) - len(last.lstrip("+~"))]
    key, equals, value = last.removeprefix(sign).partition("=")
    chosen = dict(word.split("=", 1) for word in before if "=" in word)
    places = _places(chosen)
    if equals:
        *earlier, _ = value.split(",")  # of a sweep
        return [f"{sign}{key}={','.join([*earlier, name])}" for name in _values(key.replace("/", "."), places)]
    return [sign + _up_to_dot(word, len(key)) for word in _keys(key, places, chosen) if word.startswith(key)]


def _up_to_dot(word: str, start: int) -> str:
    """Cut a word behind its next dot, so that Tab goes one level at a time."""
    dot = word.find(".", start)
    return word if dot < 0 else word[: dot + 1]


def _places(chosen: dict[str, str]) -> dict[str, str]:
    """Return the group of each place: fusion for fusion, encoder/image for encoder.front."""
    first_levels = {field.name for field in fields(RunConfig)}
    groups = [group for group in yaml_files.groups() if group.split("/")[0] in first_levels]
    places = {group.replace("/", "."): group for group in groups}
    if "dataset" in chosen and chosen["dataset"] in yaml_files.files("dataset"):
        for key in yaml_files.read("dataset", chosen["dataset"]).keys:
            if key.name == "kinds":
                kinds = yaml.safe_load(key.value)
                places |= {f"encoder.{modality}": f"encoder/{kind}" for modality, kind in kinds.items()}
    return places


def _keys(typed: str, places: dict[str, str], chosen: dict[str, str]) -> list[str]:
    plain = [field.name for field in fields(RunConfig) if field.type is not Any and field.default is not MISSING]
    keys = [*plain, *places]
    keys += [f"budget.{field.name}" for field in fields(BudgetConfig)]
    for place, group in places.items():
        if not typed.startswith(f"{place}."):
            keys.append(f"{place}.")
            continue
        names = list(yaml_files.files(group))
        if place in chosen and chosen[place] in names:
            names = [chosen[place]]
        keys += [f"{place}.{key.name}" for name in names for key in yaml_files.read(group, name).keys]
    stages = {key.rsplit(".", 1)[0] for key in keys if key.startswith("strategy.stages.")}
    keys += [f"{stage}.{field.name}" for stage in stages for field in fields(StageConfig)]
    return [key if key.endswith(".") else f"{key}=" for key in keys]


def _values(place: str, places: dict[str, str]) -> Iterable[str]:
    last = place.rpartition(".")[2]
    if place in places:
        return yaml_files.files(places[place])
    if place.startswith("strategy.stages.") and last in ("objective", "optimizer"):
        return yaml_files.files(last)
    if place.startswith(("trainer.", "strategy.stages.")) and last in ONE_OF:
        return [str(value).lower() for value in ONE_OF[last] if value is not None]
    return []
