"""Seeds of a comparison: single ones and ranges."""

import re
from collections.abc import Sequence
from typing import Any

_RANGE = re.compile(r'([0-9]+):([0-9]+)')


def read_seeds(given: Any) -> tuple[int, ...]:
    """Read seeds, in the order in which they are given.

    Args:
        given: A list of seeds and ranges, or one range: ``[0, 1, 2]``, ``'0:20'``, ``['0:3', '7']``. As in Python, a
            range does not contain its end.

    Returns:
        The seeds.

    Raises:
        ValueError: The seeds are not of this form, there is none, or one is given twice; says what they must be.
    """
    parts = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    seeds = [seed for part in parts for seed in _read_part(part)]
    if not seeds or None in seeds or len(set(seeds)) < len(seeds):
        raise ValueError("a list of seeds, each given once and at least 0, or of ranges such as '0:20'")
    return tuple(seed for seed in seeds if seed is not None)


def _read_part(part: Any) -> Sequence[int | None]:
    """Read a seed or a range; ``None`` stands for what is neither, or an empty range."""
    match = _RANGE.fullmatch(part) if isinstance(part, str) else None
    if match:
        return range(int(match[1]), int(match[2])) or [None]
    if isinstance(part, str) and part.isascii() and part.isdecimal():
        return [int(part)]
    return [part if isinstance(part, int) and not isinstance(part, bool) and part >= 0 else None]
