"""Reading the samples of a stream in a given order, decoding none."""

import logging
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol, runtime_checkable

from mmengine.logging import print_log

from motivation.datasets.stream_order import BufferedOrder
from motivation.errors import ConfigError, reason


@dataclass
class RawSample:
    """A sample that is not decoded.

    Attributes:
        name: Its name, for messages.
        image: The bytes of the image file.
        target: Its class index, ``None`` if it has none.
        problem: Why it cannot be used, if that is known already.
    """

    name: str
    image: Any
    target: int | None
    problem: str = ''


@runtime_checkable
class SampleStream(Protocol):
    """A data set in shards that are read from their beginning.

    Attributes:
        shards: Names of the shards.
        lengths: Number of samples of each; ``None`` if that is not known.
        total: Number of samples of all.
        classes: Names of the classes.
        start_method: How processes that read have to be started; ``None`` for any way.
    """

    shards: Sequence[str]
    lengths: Sequence[int] | None
    total: int
    classes: Sequence[str]
    start_method: str | None

    def read(self, shard: int, first: int) -> Iterator[RawSample]:
        """Yield the samples of a shard, without the first ones."""


class Walk:
    """Reads samples at ascending positions of an order of shards.

    Where the lengths of the shards are known, a shard without a sample that is asked for is not opened; else every
    sample before is read.

    Args:
        stream: The stream.
        shards: Numbers of the shards, in order.
        repeats: Whether to begin again after the last shard, where lengths are not known. Default: ``False``.
        whole: Whether the stream has to end with its last sample, where lengths are not known. Default: ``False``.
        alone: Whether all samples are read, so that more of them are warned of. Default: ``False``.

    Raises:
        ConfigError: A shard cannot be read, or the numbers of samples are not what they should be.
    """

    def __init__(
        self,
        stream: SampleStream,
        shards: Sequence[int],
        repeats: bool = False,
        whole: bool = False,
        alone: bool = False,
    ) -> None:
        self._stream = stream
        self._shards = shards
        self._repeats = repeats
        self._whole = whole
        self._alone = alone
        self._ends = None if stream.lengths is None else list(accumulate(stream.lengths[shard] for shard in shards))
        self._open = -1  # place, in the order, of the shard that is read
        self._samples = self._nothing()
        self._next = 0  # position of its next sample

    def at(self, position: int) -> RawSample:
        """Return the sample at a position, higher than the one before."""
        if self._ends is not None and position >= (self._ends[self._open] if self._open >= 0 else 0):
            self._open = bisect_right(self._ends, position)
            self._next = position
            begin = self._ends[self._open - 1] if self._open else 0
            self.close()
            self._samples = self._read(self._shards[self._open], position - begin)
        elif self._ends is None and self._open < 0:
            self._open, self._samples = 0, self._all()
        sample = None
        while self._next <= position:
            sample = next(self._samples, None)
            if sample is None:
                raise self._miscounted('fewer')
            self._next += 1
        end = self._stream.total if self._ends is None else self._ends[self._open]
        must_end = self._whole or self._ends is not None
        if self._next == end and (must_end or self._alone) and next(self._samples, None) is not None:
            if must_end:
                raise self._miscounted('more')
            print_log(f'{self._miscounted("more")}, or the rest is never seen', 'current', logging.WARNING)
        assert sample is not None
        return sample

    def close(self) -> None:
        """Close the shard that is open."""
        self._samples.close()

    def _nothing(self) -> Generator[RawSample, None, None]:
        yield from ()

    def _all(self) -> Generator[RawSample, None, None]:
        found = True
        while found:
            found = False
            for shard in self._shards:
                for sample in self._read(shard, 0):
                    found = self._repeats
                    yield sample

    def _read(self, shard: int, first: int) -> Generator[RawSample, None, None]:
        try:
            yield from self._stream.read(shard, first)
        except ConfigError:
            raise
        except Exception as error:  # readers raise errors of any type
            raise ConfigError(
                f'{self._stream.shards[shard]!r} cannot be read: {reason(error)}; make it available, and continue with --resume if the run has a checkpoint'
            ) from error

    def _miscounted(self, how: str) -> ConfigError:
        if self._ends is None:
            return ConfigError(
                f'dataset.num_samples is {self._stream.total:,}, and the shards hold {how}'
                + (f', {self._next:,}' if how == 'fewer' else '')
                + '; give the number that they hold'
            )
        assert self._stream.lengths is not None
        shard = self._shards[self._open]
        return ConfigError(
            f'{self._stream.shards[shard]!r} holds {how} than the {self._stream.lengths[shard]:,} samples that its data set '
            'states; correct the statement or the shard'
        )


class Lane:
    """Draws the samples of one lane in one epoch; samples that are passed over are not read where that can be avoided.

    Args:
        walk: Reads them.
        order: The positions to read, in the order in which they are drawn.

    Attributes:
        drawn: Number of samples that were drawn or passed over.
        last: The last one that was drawn.
    """

    def __init__(self, walk: Walk, order: BufferedOrder) -> None:
        self.drawn = 0
        self.last: RawSample | None = None
        self._walk = walk
        self._order = order
        self._held: dict[int, RawSample] = {}
        self._ahead: Iterator[int] = iter(order.positions)  # positions to read, ascending

    def close(self) -> None:
        """Close what is open; nothing can be drawn any more."""
        self._walk.close()

    def take(self, number: int) -> RawSample:
        """Draw the sample of that number in the lane, from 0, not below the last one."""
        if number == self.drawn - 1 and self.last is not None:
            return self.last
        passed_over = number > self.drawn
        while self.drawn < number:
            self._held.pop(next(self._order), None)
            self.drawn += 1
        position = next(self._order)
        self.drawn += 1
        if passed_over:
            known = sorted({position, *self._order.waiting} - self._held.keys())
            self._ahead = chain(known, iter(self._order.positions[self._order.taken_up :]))
        while position not in self._held:
            ahead = next(self._ahead)
            self._held[ahead] = self._walk.at(ahead)
        self.last = self._held.pop(position)
        return self.last
