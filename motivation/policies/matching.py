"""Random batches that match those of a recorded run in number, schedule and spells."""

import random
from collections.abc import Sequence
from itertools import pairwise


def draw_batches(generator: random.Random, motivated: Sequence[int], windows: int) -> set[int]:
    """Draw as many batches in each window of a run as were motivated in it, each choice with the same probability.

    Args:
        generator: Draws.
        motivated: Whether each recorded batch was motivated; the first was not, and is never drawn.
        windows: Number of equal parts of the run.
    """
    drawn: set[int] = set()
    for begin, end in _windows(len(motivated), windows):
        drawn |= set(generator.sample(range(begin, end), sum(motivated[begin:end])))
    return drawn


def draw_spells(generator: random.Random, spells: Sequence[tuple[int, int]], batches: int, windows: int) -> set[int]:
    """Draw new places for the spells of a run, in each window every order and place with the same probability.

    The number and lengths of spells, and the number of motivated batches in each window, remain. A spell moves together
    with the base batch after it, so that no two spells meet; one that crosses the end of a window stays where it was.

    Args:
        generator: Draws.
        spells: First batch and last batch + 1 of each recorded spell, in order.
        batches: Number of batches of the run.
        windows: Number of equal parts of the run.

    Returns:
        The motivated batches.
    """
    drawn: set[int] = set()
    bounds = _windows(batches, windows)
    bounds[-1] = bounds[-1][0], batches + 1  # the last spell of the run may have no base batch after it
    for begin, end in bounds:
        inside = [spell for spell in spells if begin <= spell[0] and spell[1] < end]
        crossing = [spell for spell in spells if spell not in inside and spell[0] < end and spell[1] >= begin]
        drawn |= {batch for first, last in crossing for batch in range(max(first, begin), min(last, end))}
        free = range(
            max([begin, *(last + 1 for first, last in crossing if first < begin)]),
            min([end, *(first for first, _ in crossing if first >= begin)]),
        )
        drawn |= _placed(generator, [last - first for first, last in inside], free)
    return drawn


def _placed(generator: random.Random, lengths: list[int], free: range) -> set[int]:
    """Place spells of given lengths, each with a base batch after it, anywhere in a stretch of batches."""
    lengths = generator.sample(lengths, len(lengths))
    things = len(free) - sum(lengths)  # spells with the batch after them, and all other base batches
    batches: set[int] = set()
    moved = 0  # by which the spells before have shifted the next
    for place, length in zip(sorted(generator.sample(range(things), len(lengths))), lengths, strict=True):
        first = free.start + place + moved
        batches |= set(range(first, first + length))
        moved += length
    return batches


def _windows(batches: int, windows: int) -> list[tuple[int, int]]:
    """Return the first batch and the last batch + 1 of equal parts of a run, without its first batch."""
    return list(pairwise(max(number * batches // windows, 1) for number in range(windows + 1)))
