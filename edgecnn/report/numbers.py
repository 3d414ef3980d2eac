"""Numbers for people, with their units; pure."""

from __future__ import annotations


def micro(microseconds: float) -> str:
    """A time with three digits that count: ``12.6 µs``, ``1.23 ms``, ``2.50 s``."""
    return _scaled(microseconds, ("µs", "ms", "s"))


def size(count: int) -> str:
    """Bytes in decimal units: ``512 B``, ``78.0 kB``."""
    return f"{count} B" if count < 1000 else _scaled(count / 1000, ("kB", "MB", "GB"))


def counted(count: float) -> str:
    """A count in thousands, millions or milliards: ``950``, ``12.6 k``, ``1.23 M``, ``2.50 G``."""
    return f"{count:.0f}" if count < 1000 else _scaled(count / 1000, ("k", "M", "G", "T"))


def span(low: str, high: str) -> str:
    """``12.4 to 12.9 µs`` of ``12.4 µs`` and ``12.9 µs``: the unit once where both have the same."""
    number, _, unit = low.partition(" ")
    return f"{number} to {high}" if unit == high.partition(" ")[2] else f"{low} to {high}"


def percent(share: float, digits: int = 2) -> str:
    """``73.78 %`` of 0.7378."""
    return f"{100 * share:.{digits}f} %"


def brief(shown: str) -> str:
    """A number with its unit and no zeros after the point: ``50 kB`` of ``50.0 kB``."""
    number, _, unit = shown.partition(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}".rstrip()


def tick(value: float) -> str:
    """A number on an axis, as short as it can be: ``0.5``, ``12``, ``1,200``."""
    return f"{value:,.6f}".rstrip("0").rstrip(".")


def _scaled(value: float, units: tuple[str, ...]) -> str:
    place = 0
    while place + 1 < len(units) and value >= 999.5:
        value /= 1000
        place += 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {units[place]}"
