"""How people write numbers and dates in cells: formats that are recognised from examples, and parse one cell each."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from mmrun.data.sheets.numbers import as_number, is_missing_mark
from mmrun.errors import DataError

DateOrder = Literal["day_first", "month_first"]

CURRENCIES = {
    *("$", "€", "£", "¥", "₹", "₽", "₩", "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "AUD", "CAD", "SEK", "NOK"),
    *("DKK", "PLN", "BRL"),
}
UNITS = {  # that may follow a number without a space
    *("%", "‰", "t", "kg", "g", "mg", "µg", "lb", "lbs", "oz", "km", "m", "cm", "mm", "µm", "nm", "mi", "ft", "in"),
    *("m²", "m³", "km²", "m2", "l", "ml", "dl", "cl", "s", "ms", "µs", "min", "h", "hrs", "d", "y", "yr", "yrs", "x"),
    *("Hz", "kHz", "MHz", "GHz", "B", "kB", "KB", "MB", "GB", "TB", "W", "kW", "MW", "kWh", "V", "mV", "A", "mA"),
    *("Pa", "hPa", "kPa", "bar", "mmHg", "°C", "°F", "°", "K", "J", "kJ", "kcal", "cal", "dB", "px", "dpi", "bpm"),
    *("km/h", "m/s", "mph", "mg/dl", "mg/dL", "mmol/l", "mmol/L", "g/dl", "g/dL"),
}
SPACES = " \u00a0\u202f"
POINT = rf"\d+(?:\.\d*)?|\.\d+|\d{{1,3}}(?:[,'\u2019{SPACES}]\d{{3}})+(?:\.\d*)?"
COMMA = rf"\d+(?:,\d*)?|,\d+|\d{{1,3}}(?:[.'\u2019{SPACES}]\d{{3}})+(?:,\d*)?"
NUMBER = re.compile(
    r"(?P<open>\()?(?P<sign>[+\u2212-]?)\s?(?P<before>[^\d\s.,()+\u2212-]{0,3})\s?(?P<sign2>[+\u2212-]?)"
    rf"(?P<digits>[\d.,'\u2019{SPACES}]*\d[.,]?)(?P<gap>\s?)(?P<after>[^\d\s(),][^\d()]{{0,11}})?\)?"
)
SEPARATORS = str.maketrans("", "", f"'\u2019{SPACES}")
AMBIGUOUS = re.compile(r"[1-9]\d{0,2},\d{3}")  # 1,234

SECONDS = r"(?::(?P<second>\d{2})(?:\.(?P<fraction>\d+))?)?"
HOURS = rf"(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}}){SECONDS}\s?(?P<half>[AaPp]\.?[Mm]\.?)?"
TIME = rf"(?:[T ,]+{HOURS}\s?(?P<zone>Z|UTC|[+-]\d{{2}}:?\d{{2}})?)?"
YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.])(?P<second_part>\d{1,2})\2(?P<third_part>\d{1,2})" + TIME)
YEAR_LAST = re.compile(r"(?P<first_part>\d{1,2})([-/.])(?P<second_part>\d{1,2})\2(?P<year>\d{4}|\d{2})" + TIME)
NAMED = re.compile(
    r"(?:(?P<day>\d{1,2})\.?[ -]+(?P<month>[A-Za-z]{3,9})\.?|(?P<month2>[A-Za-z]{3,9})\.? (?P<day2>\d{1,2}))"
    r",?[ -]+(?P<year>\d{4})" + TIME
)
CLOCK = re.compile(HOURS)
POSITIVE, NEGATIVE = {"yes", "y", "true", "t"}, {"no", "n", "false", "f"}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
EPOCH = datetime(1970, 1, 1)
DAYS_PER_YEAR = 365.2425


@dataclass(frozen=True)
class NumberFormat:
    """Numbers with a decimal sign and, all of them or none, a currency or a unit.

    Attributes:
        decimal: the decimal sign; the other sign, apostrophes and spaces separate thousands.
        unit: currency, % or unit; "" if there is none.
    """

    decimal: Literal[".", ","]
    unit: str = ""

    def parse(self, cell: object) -> float:
        """Return the number of a cell, NaN where it is marked as missing.

        Raises:
            DataError: the cell is no number, or has another unit.
        """
        if is_missing_mark(cell):
            return math.nan
        parts = split_number(cell) if isinstance(cell, str) else None
        if parts is None:
            number = as_number(cell)
            if number is None:
                raise DataError(f"{str(cell)[:40]!r} is not a number")
            return number
        digits, unit = parts
        if unit not in ("", self.unit):
            raise DataError(f"{str(cell)[:40]!r} is in {unit}, but others are in {self.unit or 'no unit'}")
        number = _read_digits(digits, self.decimal)
        if number is None:
            raise DataError(f"{str(cell)[:40]!r} is not a number with a decimal {_name_sign(self.decimal)}")
        return number

    def __str__(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return f"numbers{unit} with a decimal {_name_sign(self.decimal)}"


@dataclass(frozen=True)
class DateFormat:
    """Dates, with or without a time of day.

    Attributes:
        order: what comes first in 03/04/2024; None where no cell leaves that open.
        has_date: whether there are dates, not times of day alone.
        has_time: whether there are times.
    """

    order: DateOrder | None
    has_date: bool
    has_time: bool

    def parse(self, cell: object) -> float:
        """Return the days since 1970 of a cell, with the time as a fraction; NaN where it is marked as missing.

        Raises:
            DataError: the cell is no date.
        """
        if is_missing_mark(cell):
            return math.nan
        date = parse_date(str(cell), self.order)
        if date is None:
            raise DataError(f"{str(cell)[:40]!r} is not a date")
        return (date - EPOCH) / timedelta(days=1)

    def __str__(self) -> str:
        kinds = [name for name, is_there in (("dates", self.has_date), ("times", self.has_time)) if is_there]
        order = f", {self.order.replace('_', ' ')}" if self.order else ""
        return f"{' and '.join(kinds)}{order}"


@dataclass(frozen=True)
class WordFormat:
    """Yes and no, true and false, in several spellings.

    Attributes:
        positive: how yes is written in the end.
        negative: how no is.
    """

    positive: str
    negative: str

    def parse(self, cell: object) -> str | None:
        """Return one of the two words, None where the cell is marked as missing.

        Raises:
            DataError: the cell is neither.
        """
        word = str(cell).strip().lower()
        if word not in POSITIVE and word not in NEGATIVE:
            if is_missing_mark(cell):
                return None
            raise DataError(f"{str(cell)[:40]!r} is neither {self.positive} nor {self.negative}")
        return self.positive if word in POSITIVE else self.negative

    def __str__(self) -> str:
        return f"{self.positive} and {self.negative}"


def format_to_json(format: NumberFormat | DateFormat | WordFormat) -> dict[str, object]:
    """Return a format as JSON values.

    Args:
        format: of a column.
    """
    return {"type": type(format).__name__, **asdict(format)}


def format_from_json(values: Mapping[str, Any]) -> NumberFormat | DateFormat | WordFormat:
    """Return the format that `format_to_json` described.

    Args:
        values: what it returned.
    """
    kinds = {kind.__name__: kind for kind in (NumberFormat, DateFormat, WordFormat)}
    arguments = {name: value for name, value in values.items() if name != "type"}
    format: NumberFormat | DateFormat | WordFormat = kinds[values["type"]](**arguments)
    return format


def infer_word_format(cells: Sequence[str]) -> WordFormat | None:
    """Return the format of a column of yes and no that is not spelled in one way; None if there is nothing to do.

    Args:
        cells: examples, at least one.
    """
    spellings = set(cells)
    words = {spelling.strip().lower() for spelling in spellings}
    if len(spellings) < 3 or not words <= POSITIVE | NEGATIVE:
        return None
    return WordFormat("true", "false") if words <= {"true", "false", "t", "f"} else WordFormat("yes", "no")


def split_number(text: str) -> tuple[str, str] | None:
    """Return the signed digits of a number as written, and its currency or unit ("" if there is none).

    Args:
        text: of a cell.

    Returns:
        None if it is not a number with a known currency before it, or a currency, % or unit after it.
    """
    match = NUMBER.fullmatch(text.strip())
    if match is None or (match["open"] is None) != (not text.strip().endswith(")")):
        return None
    if match["sign"] and match["sign2"]:
        return None
    before, after = match["before"], (match["after"] or "").strip()
    if before and (before not in CURRENCIES or after):
        return None
    if after and after not in CURRENCIES and after not in UNITS and not match["gap"]:
        return None  # 3D and 12b are names
    if after and not re.fullmatch(r"[A-Za-zµ°%‰$€£¥₹₽₩²³·/]+", after):
        return None
    is_negative = bool(match["open"]) or "-" in (sign := match["sign"] + match["sign2"]) or "\u2212" in sign
    return ("-" if is_negative else "") + match["digits"].strip(), before or after


def infer_number_format(cells: Sequence[str]) -> NumberFormat | None:
    """Return the format of numbers that are not written plainly.

    Args:
        cells: examples, at least one.

    Returns:
        None if a cell is no number, or if they have different units or no common decimal sign.
    """
    parts = [split_number(cell) for cell in cells]
    if not parts or any(part is None for part in parts):
        return None
    digits = [part[0] for part in parts if part is not None]
    units = {part[1] for part in parts if part is not None}
    if len(units) > 1:
        return None
    for decimal in (".", ","):
        if all(_read_digits(number, decimal) is not None for number in digits):
            return NumberFormat(decimal, units.pop())
    return None


def infer_usual_format(cells: Sequence[str]) -> NumberFormat:
    """Return the format that most cells with a number have.

    Args:
        cells: examples.
    """
    parts = [part for cell in cells if (part := split_number(cell)) is not None]
    units = Counter(unit for _, unit in parts)
    with_point = sum(_read_digits(digits, ".") is not None for digits, _ in parts)
    with_comma = sum(_read_digits(digits, ",") is not None for digits, _ in parts)
    unit = units.most_common(1)[0][0] if units else ""
    return NumberFormat("," if with_comma > with_point else ".", unit)


def is_ambiguous(cells: Sequence[str], sign: str = ",") -> bool:
    """Return whether a sign may separate thousands or decimals, as the comma may in all of 1,234 and 5,678.

    Args:
        cells: of a column.
        sign: a comma or a point.
    """
    digits = [part[0].lstrip("-") for cell in cells if (part := split_number(cell)) is not None]
    with_sign = [number.replace(sign, ",") for number in digits if sign in number]
    other = "." if sign == "," else ","
    return bool(with_sign) and all(map(AMBIGUOUS.fullmatch, with_sign)) and other not in "".join(digits)


def uses_decimal_comma(cells: Sequence[str]) -> bool:
    """Return whether a column shows beyond doubt that its numbers have a decimal comma, as 1,5 does.

    Args:
        cells: of a column.
    """
    format = infer_number_format(cells)
    return format is not None and format.decimal == "," and not is_ambiguous(cells)


def infer_date_format(cells: Sequence[str], order: DateOrder | None = None) -> DateFormat | None:
    """Return the format of dates or times of day.

    Args:
        cells: examples, at least one.
        order: what comes first in 03/04/2024, if that is known.

    Returns:
        None if a cell is no date. Its order is None if no cell shows it; see `leaves_order_open`.
    """
    orders: list[DateOrder | None] = [order] if order else [None, "day_first", "month_first"]
    for candidate in orders:
        if all(parse_date(cell, candidate) is not None for cell in cells):
            dates = [parse_date(cell, candidate) for cell in cells]
            has_date = not all(CLOCK.fullmatch(cell.strip()) for cell in cells)
            return DateFormat(candidate, has_date, any(date and (date.hour or date.minute) for date in dates))
    return None


def leaves_order_open(cells: Sequence[str]) -> bool:
    """Return whether dates can be read with the day first and with the month first."""
    if not cells or all(parse_date(cell, None) for cell in cells):
        return False
    return all(parse_date(cell, "day_first") and parse_date(cell, "month_first") for cell in cells)


def parse_date(text: str, order: DateOrder | None) -> datetime | None:
    """Return a date, in UTC; of a time of day, on 1 January 1970.

    Args:
        text: of a cell.
        order: what comes first in 03/04/2024; None: such a date is not read. 03.04.2024 starts with the day.
    """
    text = text.strip()
    readers: list[tuple[re.Pattern[str], Callable[[re.Match[str]], tuple[int, int, int] | None]]] = [
        (YEAR_FIRST, lambda match: (int(match["year"]), int(match["second_part"]), int(match["third_part"]))),
        (YEAR_LAST, lambda match: _order_parts(match, order)),
        (NAMED, _read_named),
        (CLOCK, lambda _: (1970, 1, 1)),
    ]
    for pattern, read in readers:
        match = pattern.fullmatch(text)
        if match is not None:
            date = read(match)
            return None if date is None else _build_date(*date, match)
    return None


def _order_parts(match: re.Match[str], order: DateOrder | None) -> tuple[int, int, int] | None:
    first, second, year = int(match["first_part"]), int(match["second_part"]), int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    if match[2] == "." and order is None:
        order = "day_first"
    if order is None:
        return None
    return (year, second, first) if order == "day_first" else (year, first, second)


def _read_named(match: re.Match[str]) -> tuple[int, int, int] | None:
    month = (match["month"] or match["month2"])[:3].lower()
    if month not in MONTHS:
        return None
    return int(match["year"]), MONTHS.index(month) + 1, int(match["day"] or match["day2"])


def _build_date(year: int, month: int, day: int, match: re.Match[str]) -> datetime | None:
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    microsecond = int((match["fraction"] or "")[:6].ljust(6, "0"))
    half = (match["half"] or "").lower()[:1]
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        date = datetime(year, month, day, hour, minute, second, microsecond)
        return date - _parse_zone(match.groupdict().get("zone") or "")
    except (ValueError, OverflowError):
        return None


def _parse_zone(zone: str) -> timedelta:
    """Return how far a time zone such as +05:30 is ahead of UTC."""
    if not zone.startswith(("+", "-")):
        return timedelta()
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -offset if zone[0] == "-" else offset


def date_features(days: float | None, format: DateFormat) -> dict[str, float | None]:
    """Return what an encoder reads of a date: the year with its fraction, and angles on the circles of its cycles.

    Args:
        days: since 1970; None where the cell is empty, NaN where it is marked as missing.
        format: decides which features there are.

    Returns:
        "year", "month_sin", "month_cos", "weekday_sin", "weekday_cos" of dates, "hour_sin" and "hour_cos" of times.
    """
    names = [
        *(("year", "month_sin", "month_cos", "weekday_sin", "weekday_cos") if format.has_date else ()),
        *(("hour_sin", "hour_cos") if format.has_time else ()),
    ]
    if days is None or math.isnan(days):
        return dict.fromkeys(names, days)
    date = EPOCH + timedelta(days=days)
    day_of_year = date.timetuple().tm_yday - 1 + days % 1
    cycles = {"month": day_of_year / DAYS_PER_YEAR, "weekday": date.weekday() / 7, "hour": days % 1}
    features: dict[str, float | None] = {"year": date.year + day_of_year / DAYS_PER_YEAR}
    for name, turns in cycles.items():
        features[f"{name}_sin"] = math.sin(2 * math.pi * turns)
        features[f"{name}_cos"] = math.cos(2 * math.pi * turns)
    return {name: features[name] for name in names}


def _read_digits(digits: str, decimal: str) -> float | None:
    pattern = POINT if decimal == "." else COMMA
    if not re.fullmatch(pattern, digits.lstrip("-")):
        return None
    plain = digits.translate(SEPARATORS)
    plain = plain.replace(",", "") if decimal == "." else plain.replace(".", "").replace(",", ".")
    return float(plain)


def _name_sign(decimal: str) -> str:
    return "point" if decimal == "." else "comma"
