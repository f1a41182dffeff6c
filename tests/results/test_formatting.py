"""Numbers and names as a person reads them."""

import pytest

from mmrun.results import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (-9.5, "-9.5000"),
        (12.3456, "12.35"),
        (0.00012346, "0.0001235"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert formatting.format_number(value) == text


def test_differences_have_a_sign():
    assert [formatting.format_signed(value) for value in (0.5, -0.5, 0.0, None)] == [
        "+0.5000",
        "-0.5000",
        "0.0000",
        "-",
    ]


def test_intervals_and_p_values():
    assert formatting.format_interval(0.1, 0.2) == "0.1000 .. 0.2000"
    assert formatting.format_interval(None, None) == "-"
    assert [formatting.format_p_value(p) for p in (0.0004, 0.001, 0.25, None)] == ["<0.001", "0.001", "0.250", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (999, "999"),
        (1437, "1.44k"),
        (25_300_000, "25.3M"),
        (1.5e12, "1.5T"),
        (2e15, "2P"),
        (999_600, "1000k"),
    ],
)
def test_large_counts_are_abbreviated(value, text):
    assert formatting.format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (512, "512 B"),
        (1536, "1.5 KiB"),
        (512 * 1024**2, "512 MiB"),
        (1020 * 1024, "1020 KiB"),
        (3 << 40, "3072 GiB"),
    ],
)
def test_sizes_have_a_unit(value, text):
    assert formatting.format_size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (1.54, "1.5 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (172_740, "47 h 59 min"),
        (400_000, "4 d"),
    ],
)
def test_durations_have_one_or_two_units(seconds, text):
    assert formatting.format_duration(seconds) == text


def test_nouns_have_a_plural():
    assert [formatting.pluralize(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]


def test_control_characters_are_shown_and_not_obeyed():
    assert formatting.escape_controls("a\x1b[31m\u202eb\tc\n") == "a\\x1b[31m\\u202eb\tc\n"
