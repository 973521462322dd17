"""Bounds of the options of the command-line tools."""

import argparse
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Return a ``type`` for argparse: a whole number that is not below ``least``."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f'must be a whole number of at least {least}, got {text!r}')
        return number

    return convert
