"""The order in which the samples of a stream are drawn, without reading any."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from motivation.utils.arguments import Count


@dataclass(frozen=True)
class Drawing:
    """How a data loader draws from a stream: all on which the order depends, besides the epoch.

    An epoch is an order of all samples. Each process has a part of it, and each of its lanes a part of that. A lane
    makes every ``lanes``-th batch of its process, as a worker of the data loader does.

    Attributes:
        total: Number of samples that an epoch draws, of all processes.
        batch_size: Samples of a batch of one process.
        seed: Seed of the order.
        shuffle: Whether the order changes from epoch to epoch; else it is the stored one.
        process: Number of this process.
        processes: Number of processes.
        lanes: Number of lanes of each process.
        round_up: Whether all processes draw equally many, by repeating samples, as of MMEngine's ``DefaultSampler``.
        drop_last: Whether the incomplete last batch is left out.
    """

    total: int
    batch_size: Count
    seed: int = 0
    shuffle: bool = False
    process: int = 0
    processes: Count = 1
    lanes: Count = 1
    round_up: bool = True
    drop_last: bool = False

    def lane_of(self, number: int) -> tuple[int, int]:
        """Return the lane of the sample that this process draws as its ``number``-th, and its number in the lane."""
        batch, place = divmod(number, self.batch_size)
        return batch % self.lanes, batch // self.lanes * self.batch_size + place

    def own(self, process: int | None = None) -> int:
        """Return how many samples a process, by default this one, draws before it repeats any."""
        process = self.process if process is None else process
        share = len(range(process, self.total, self.processes))
        drawn = math.ceil(self.total / self.processes) if self.round_up else share
        return min(share, drawn - drawn % self.batch_size if self.drop_last else drawn)

    def part(self, lane: int) -> range:
        """Return the positions, in the order of an epoch, of the samples of a lane."""
        begin = sum(map(self.own, range(self.process))) + sum(map(self._in_lane, range(lane)))
        return range(begin, begin + self._in_lane(lane))

    def _in_lane(self, lane: int) -> int:
        batches, rest = divmod(self.own(), self.batch_size)
        return len(range(lane, batches, self.lanes)) * self.batch_size + rest * (batches % self.lanes == lane)

    def shards(self, count: int, epoch: int) -> list[int]:
        """Return the order of ``count`` shards in an epoch, the same in all processes."""
        if not self.shuffle:
            return list(range(count))
        generator = torch.Generator().manual_seed(_number(self.seed, epoch))
        return torch.randperm(count, generator=generator).tolist()

    def draws(self, epoch: int, lane: int) -> random.Random | None:
        """Return the random numbers of the shuffle buffer of a lane, ``None`` without shuffling."""
        return random.Random(_number(self.seed, epoch, self.process, lane)) if self.shuffle else None


class BufferedOrder(Iterator[int]):
    """Positions shuffled by a buffer: each draw takes a random one of those that wait in it.

    Args:
        positions: The positions.
        size: How many wait at most.
        draws: Decides which is drawn; ``None`` for the given order.

    Attributes:
        waiting: The positions that were taken up and not drawn.
        taken_up: Number of positions that were taken up.
    """

    def __init__(self, positions: range, size: int, draws: random.Random | None) -> None:
        self.positions = positions
        self.waiting: list[int] = []
        self.taken_up = 0
        self._size = size if draws is not None else 1
        self._draws = draws

    def __next__(self) -> int:
        fresh = self.positions[self.taken_up : self.taken_up + self._size - len(self.waiting)]
        self.waiting += fresh
        self.taken_up += len(fresh)
        if not self.waiting:
            raise StopIteration
        drawn = self._draws.randrange(len(self.waiting)) if self._draws is not None else 0
        self.waiting[drawn], self.waiting[-1] = self.waiting[-1], self.waiting[drawn]
        return self.waiting.pop()


def _number(*key: int) -> int:
    """Return a seed derived from a key of integers."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
