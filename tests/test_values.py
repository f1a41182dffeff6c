from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from torch import Tensor

from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.values import PositiveInt, Range, Share, ShareBelow1, Width, Widths, convert, list_choices


@dataclass
class Inner:
    size: PositiveInt
    name: str = "a"


@dataclass
class Outer:
    inner: dict[str, Inner] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (0, ShareBelow1, 0.0),
        (1, Share, 1.0),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        ([1, 2], Widths, [1, 2]),
        (None, PositiveInt | None, None),
        ("auto", PositiveInt | Literal["auto"], "auto"),
        (False, Literal[False, "auto"], False),
        ({"a": 1}, Mapping[str, Share], {"a": 1.0}),
        ("x", float | str, "x"),
        (0.5, float | Tensor, 0.5),
        ("~/x", Path, Path("~/x")),
        ([1, "a", None], Any, [1, "a", None]),
        ({"inner": {"x": {"size": 2}}}, Outer, Outer({"x": Inner(2)})),
    ],
)
def test_values_are_converted_to_what_is_declared(value, annotation, expected):
    converted = convert(value, annotation, "key")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (True, int, "key: true is not a whole number"),
        ("3", int, "key: '3' is not a whole number"),
        (3.5, int, "key: 3.5 is not a whole number"),
        (3.0, Width, "key: 3.0 is not a whole number from 1 to 65536; write 3"),
        (2**64, int, "key: 18446744073709551616 is not a whole number"),
        (True, float, "key: true is not a number"),
        (10**400, float, f"key: {'1' + '0' * 27}...{'0' * 29} is not a number"),
        (float("nan"), Share, "key: nan is not a number from 0 to 1"),
        (1, bool, "key: 1 is not true or false"),
        (7, str, "key: 7 is not a text; put it in quotes: \"key='...'\""),
        ("focul", Literal["focal", "hinge"], "key: 'focul' is not one of focal, hinge; did you mean 'focal'?"),
        (0, Literal[False, "auto"], "key: 0 is not one of false, auto"),
        (-1, PositiveInt | Literal["auto"], "key: -1 is not a whole number above 0 or auto"),
        (3, Callable[..., int], "key: 3 is not a node with a _target_"),
        (3, Tensor, "key: 3 is not a Tensor, which no config can hold"),
        ("ab", Sequence[str], "key: 'ab' is not a list"),
        ([], Widths, "key: [] is not a list with at least one item"),
        ([1, -1], Widths, "key[1]: -1 is not a whole number from 1 to 65536"),
        ([1], tuple[float, float], "key: [1] has 1 values, not 2"),
        ({"a": 2}, Share | Mapping[str, Share], "key.a: 2 is not a number from 0 to 1"),
        ({1: 2}, dict[str, int], "key: the key 1 is not a text; quote it"),
        (
            {"inner": {"x": {"sise": 2}}},
            Outer,
            "no key 'key.inner.x.sise'; did you mean 'size'? (key.inner.x has size, name)",
        ),
        ({"inner": {"x": {}}}, Outer, "key.inner.x.size is not set"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_place(value, annotation, message):
    with pytest.raises(ConfigError) as caught:
        convert(value, annotation, "key")
    assert str(caught.value) == message


def test_the_words_that_a_type_allows_are_listed():
    assert list_choices(PositiveInt | Literal["auto"] | None) == ["auto"]
    assert list_choices(Literal[False, True, "auto"]) == ["false", "true", "auto"]


def test_a_class_of_the_users_own_gets_the_same_errors(tmp_path, monkeypatch):
    (tmp_path / "ranged_parts.py").write_text(
        "from typing import Annotated\n"
        "from mmrun.values import Range\n"
        "class Ranged:\n"
        "    def __init__(self, cosine: Annotated[float, Range(at_least=-1, at_most=1)]) -> None:\n"
        "        self.cosine = cosine\n"
        "class Picky:\n"
        "    def __init__(self, size: int) -> None:\n"
        "        raise ValueError(f'{size} is odd')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MMRUN_ALLOW", "ranged_parts")
    assert instantiate({"_target_": "ranged_parts.Ranged", "cosine": -1}, "fusion").cosine == -1.0
    with pytest.raises(ConfigError, match=r"^fusion.cosine: 2 is not a number from -1 to 1$"):
        instantiate({"_target_": "ranged_parts.Ranged", "cosine": 2}, "fusion")
    with pytest.raises(ConfigError) as caught:
        instantiate({"_target_": "ranged_parts.Picky", "size": 3}, "fusion")
    assert str(caught.value) == "fusion: Picky cannot be built: 3 is odd (ValueError in ranged_parts.py, line 8)"


def test_a_range_describes_itself():
    assert str(Range(above=0, below=1)) == "above 0 and below 1"
    assert str(Range(at_least=0.5)) == "of at least 0.5"
    assert convert(0.5, Annotated[float, Range(at_least=0.5)], "key") == 0.5
