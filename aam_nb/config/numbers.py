"""Numbers as text, with significant digits: none is printed as 0.000 that is not 0, and none with a row of fifteen digits."""

from __future__ import annotations

import math
from typing import Any

UNDEFINED = "not defined"
"""What stands for a number that is missing or not a number."""
NOISE = 5e-10
"""Size below which a number without a unit, such as R², is what rounding left of 0."""


def format_number(value: Any, digits: int = 3) -> str:
    """A number of any size, in any unit: "41", "0.0512", "12,345", "4.10e-8".

    Parameters
    ----------
    value
        Whole numbers below 1e9 keep all their digits. None and NaN are "not defined".
    digits
        Significant digits of other numbers; those before the decimal point are all kept up to 1e6.
    """
    if value is None or math.isnan(number := float(value)):
        return UNDEFINED
    if math.isinf(number):
        return "infinite" if number > 0 else "-infinite"
    size = abs(number)
    if number.is_integer() and size < 1e9:
        return f"{int(number)}" if size < 1e4 else f"{int(number):,}"  # 2009 may be a year
    if size < 1e-4 or size >= 1e6:
        mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    whole = len(str(int(size))) if size >= 1 else 0
    rounded = float(f"{number:.{max(digits, whole) - 1}e}")
    decimals = max(0, max(digits, whole) - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}" if size >= 1e4 else f"{rounded:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_score(value: Any, decimals: int = 3) -> str:
    """A number without a unit, such as R² or a balanced accuracy: "0.871", and "0.0003" where decimals would say 0."""
    number = math.nan if value is None else float(value)
    size = abs(number)
    if size < NOISE:
        return f"{0:.{decimals}f}"
    if 0.5 * 10**-decimals <= size < 1000:
        return f"{number:.{decimals}f}"
    return format_number(number, 2 if size < 1 else 4)


def format_measure(value: Any) -> str:
    """A number in a unit that is not known: "7.123" as long as three decimals say enough, else four significant digits."""
    number = math.nan if value is None else float(value)
    return f"{number:.3f}" if 0.1 <= abs(number) < 1e4 else format_number(number, 4)


def format_interval(value: Any, low: Any, high: Any, *, has_unit: bool = False, decimals: int = 3) -> str:
    """A number with the ends of its interval: "0.871 [0.758, 0.925]".

    Parameters
    ----------
    value, low, high
        "not defined" alone where the value is; of ends that are not defined, the value alone.
    has_unit
        Whether it is in the unit of the target, as an error is, and so of any size.
    decimals
        Of numbers without a unit.
    """

    def as_text(number: Any) -> str:
        return format_measure(number) if has_unit else format_score(number, decimals)

    if value is None or math.isnan(value):
        return UNDEFINED
    if any(end is None or math.isnan(end) for end in (low, high)):
        return f"{as_text(value)} [no interval]"
    return f"{as_text(value)} [{as_text(low)}, {as_text(high)}]"


def format_signed(value: Any, digits: int = 3) -> str:
    """`format_number`, with a plus sign before what is above 0."""
    text = format_number(value, digits)
    return f"+{text}" if text != UNDEFINED and float(value) > 0 else text


def format_p(p: Any) -> str:
    """A p-value: "p = 0.012", or "p < 0.001"."""
    return "p < 0.001" if float(p) < 0.001 else f"p = {float(p):.3f}"
