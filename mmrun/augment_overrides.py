"""Overrides of augmentation, which name a kind or a modality: `augment.image=trivial`, `augment.photo.flip=0.5`."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mmrun.errors import ConfigError, nearest
from mmrun.quoting import decode_names

NONE = "augment=none"  # the node that what is chosen by kind is added to
BY_MODALITY = "by_modality"


class _Override(NamedTuple):
    """A part of an override: in `++augment.photo.flip=0.5` the prefix is ++, the name photo, the rest .flip=0.5."""

    prefix: str
    name: str
    rest: str

    @property
    def is_choice(self) -> bool:
        """Whether it chooses an augmentation as a whole."""
        return self.rest.startswith("=")


def rewrite_augmentation(
    overrides: Sequence[str],
    kinds: Mapping[str, str],
    all_kinds: Sequence[str],
    choices: Mapping[str, str],
    node: Mapping[str, object] | None,
) -> list[str]:
    """Rewrite overrides of a modality's augmentation as the config holds them.

    `augment.photo=trivial` becomes `augment.by_modality.photo=trivial`. A key of a modality without an augmentation of
    its own, as in `augment.photo.flip=0.5`, changes a copy of that of its kind. A name that is both is the kind.

    Args:
        overrides: as typed.
        kinds: kind of each modality of the data set.
        all_kinds: that a modality may have.
        choices: the YAML file that is chosen for each node: {"augment": "light", "augment.image": "light" ...}.
        node: of the augmentation, without the overrides of kinds and modalities; None if there is none yet.

    Raises:
        ConfigError: there is no such kind or modality, or it has no augmentation whose key could be changed.
    """
    parsed = [_parse(override) for override in overrides]
    chosen = dict(choices)
    for override in parsed:
        if override is not None and override.is_choice and override.name in all_kinds:
            chosen[f"augment.{override.name}"] = override.rest[1:]
    with_own = {override.name for override in parsed if override is not None and override.is_choice}
    rewritten = []
    for typed, override in zip(overrides, parsed, strict=True):
        if override is None or override.name == "_target_":
            rewritten.append(typed)
            continue
        if override.name == BY_MODALITY:
            modality = override.rest[1:].partition("=")[0].partition(".")[0]
            if override.rest.startswith("."):
                _check_name(typed, modality, kinds)
            rewritten.append(typed)
            continue
        if override.name in all_kinds:
            if node is None and not override.prefix:
                _find_choice(typed, override, override.name, chosen)
            rewritten.append(typed)
            continue
        _check_name(typed, override.name, [*kinds, *(kind for kind in all_kinds if kind not in kinds)])
        if override.name not in with_own:
            choice = _find_choice(typed, override, kinds[override.name], chosen)
            rewritten.append(f"augment.{BY_MODALITY}.{override.name}={choice}")
            with_own.add(override.name)
        rewritten.append(f"{override.prefix}augment.{BY_MODALITY}.{override.name}{override.rest}")
    is_typed = any(override.startswith("augment=") for override in overrides)
    is_needed = node is None and not is_typed and any(override is not None for override in parsed)
    return [NONE, *rewritten] if is_needed else rewritten


def _parse(override: str) -> _Override | None:
    """Return the parts of an override below `augment`; None for others."""
    prefix = override[: len(override) - len(override.lstrip("+~"))]
    path, equals, value = override[len(prefix) :].partition("=")
    node, point, keys = path.partition(".")
    if node != "augment" or not point:
        return None
    name, point, deeper = keys.partition(".")
    return _Override(prefix, name, f"{point}{deeper}{equals}{value}")


def _check_name(typed: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise ConfigError(
            f"{decode_names(typed)}: no modality or kind '{name}'{nearest(name, names)} (there are {', '.join(names)})"
        )


def _find_choice(typed: str, override: _Override, kind: str, chosen: Mapping[str, str]) -> str:
    """Return the name of the augmentation of a kind, whose key an override changes."""
    name = chosen.get(f"augment.{kind}")
    if name is None:
        raise ConfigError(
            f"{decode_names(typed)}: {override.name} has no augmentation; choose one with augment.{override.name}=NAME "
            f"(`mmrun options augment.{kind}` lists them)"
        )
    return name
