"""The images of a stream, drawn by a data loader as if they could be opened in any order."""

import io
import logging
import weakref
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader

from motivation.datasets.decoding import Decoder
from motivation.datasets.image_dataset import BadImageError, unreadable
from motivation.datasets.places import PlacedSampler
from motivation.datasets.spread_sampler import SpreadSampler
from motivation.datasets.stream_lanes import Lane, RawSample, SampleStream, Walk
from motivation.datasets.stream_order import BufferedOrder, Drawing
from motivation.errors import ArgumentError
from motivation.utils.portable import before_fork

# Number of shards from which few() takes samples, if they hold enough.
_SPREAD = 16

# What the samples of a lane are kept under that are read to be looked at, and to round up.
_STORED, _REPEATED = -1, -2


_ALL: 'weakref.WeakSet[StreamImages]' = weakref.WeakSet()


class StreamImages(Sequence[tuple[Any, int]]):
    """The images of a stream, in the order that a data loader draws them in.

    The sampler of the loader does not choose images by their indices but only says how many are drawn; their *places*
    (:class:`~motivation.datasets.places.PlacedIndex`) say which: shards are shuffled from seed and epoch, divided among
    the processes and their lanes, and shuffled by a buffer in each lane. An index without a place is the number of an
    image in stored order, which is cheap to read in ascending order only.

    Args:
        stream: The stream.
        decode: Decodes opened images.
        shuffle_buffer: Number of undecoded images that wait in a lane to be drawn.

    Attributes:
        is_fresh: Nothing else holds the images.
        drawing: How a data loader draws; ``None`` before :meth:`follow`.
    """

    is_fresh = True

    def __init__(self, stream: SampleStream, decode: Decoder, shuffle_buffer: int) -> None:
        self.stream = stream
        self.decode = decode
        self.drawing: Drawing | None = None
        self._shuffle_buffer = shuffle_buffer
        self._lanes: dict[int, tuple[int, Lane]] = {}  # with the epoch of each
        self._named = (-1, '')
        _ALL.add(self)

    def __len__(self) -> int:
        return self.stream.total

    def __getitem__(self, index: int) -> tuple[Any, int]:  # type: ignore[override]
        sample = self._draw(index)
        self._named = index, sample.name
        if sample.problem:
            raise BadImageError(repr(sample.name), sample.problem)
        try:
            with Image.open(io.BytesIO(sample.image)) as image:
                return self.decode(image), -1 if sample.target is None else sample.target
        except Exception as error:  # decoders raise errors of any type
            raise unreadable(repr(sample.name), error) from error

    def name(self, index: int) -> str:
        """Return the quoted name of the image that was drawn last, of others the index."""
        return repr(self._named[1]) if index == self._named[0] else f'image {index}'

    def few(self, count: int) -> list[int]:
        """Return the indices, ascending, of images that are quick to read and from several shards if lengths are known."""
        lengths = self.stream.lengths
        if lengths is None:
            return list(range(min(count, len(self))))
        some = range(0, len(lengths), max(1, len(lengths) // _SPREAD))
        shards = some if sum(lengths[shard] for shard in some) >= count else range(len(lengths))
        starts = {shard: sum(lengths[:shard]) for shard in shards}
        found = (
            starts[shard] + place
            for place in range(max(lengths, default=0))
            for shard in shards
            if place < lengths[shard]
        )
        return sorted(islice(found, count))

    def follow(self, loader: DataLoader) -> None:
        """Draw as a data loader does, whose sampler gives places from now on.

        Args:
            loader: The loader, whose sampler is MMEngine's ``DefaultSampler``.

        Raises:
            ArgumentError: It has another sampler, or there are fewer shards than lanes of all processes.
        """
        drawn: Any = loader.sampler
        is_short = isinstance(drawn, SpreadSampler)
        sampler: Any = drawn.sampler if is_short else drawn
        if type(sampler) is not DefaultSampler or type(loader.batch_sampler) is not BatchSampler:
            own = loader.batch_sampler if type(sampler) is DefaultSampler else sampler
            raise ArgumentError(
                'sampler',
                f'is {type(own).__name__}, and the data set is read as a stream, which only DefaultSampler draws from; give '
                "sampler=dict(type='DefaultSampler', shuffle=...) and no batch_sampler",
            )
        self.drawing = Drawing(
            min(len(drawn) * sampler.world_size, len(sampler.dataset)) if is_short else len(sampler.dataset),
            loader.batch_sampler.batch_size,
            sampler.seed,
            sampler.shuffle,
            sampler.rank,
            sampler.world_size,
            max(1, loader.num_workers),
            sampler.round_up,
            loader.batch_sampler.drop_last,
        )
        self._check_shards()
        loader.batch_sampler.sampler = PlacedSampler(_Count(drawn))
        if loader.num_workers and self.stream.start_method is not None:
            loader.multiprocessing_context = self.stream.start_method

    def state_dict(self) -> dict[str, int]:
        """Return the number of lanes and a checksum of the shards; all else follows from seed, epoch and place."""
        return {'lanes': self._known().lanes, 'shards': self._checksum()}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Draw as the run that :meth:`state_dict` is of, whatever the number of workers is now."""
        self.drawing = replace(self._known(), lanes=state_dict['lanes'])
        self._check_shards()
        if state_dict['shards'] != self._checksum():
            print_log(
                'the shards of train_dataloader.dataset, or their lengths, are not those of the checkpoint: the images '
                'come in another order than without the interruption',
                'current',
                logging.WARNING,
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _ALL.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_lanes': {}}  # open files do not travel to a worker

    def close(self) -> None:
        """Close all shards; what is drawn next is read again up to its place."""
        for _, lane in self._lanes.values():
            lane.close()
        self._lanes.clear()

    def _draw(self, index: int) -> RawSample:
        place = getattr(index, 'place', None)
        if place is None or self.drawing is None:
            return self._lane(_STORED, 0, index).take(index)
        epoch, number = place
        if number >= self.drawing.own():
            number -= self.drawing.own()
            return self._lane(_REPEATED, epoch, number).take(number)
        key, number = self.drawing.lane_of(number)
        return self._lane(key, epoch, number).take(number)

    def _lane(self, key: int, epoch: int, number: int) -> Lane:
        """Return a lane of an epoch from which the sample of that number can still be drawn."""
        known = self._lanes.get(key)
        if known is None or known[0] != epoch or number < known[1].drawn - 1:
            if known is not None:
                known[1].close()
            known = self._lanes[key] = epoch, self._opened(key, epoch)
        return known[1]

    def _opened(self, key: int, epoch: int) -> Lane:
        count, lengths = len(self.stream.shards), self.stream.lengths
        if key == _STORED:
            return Lane(Walk(self.stream, range(count)), BufferedOrder(range(len(self)), 1, None))
        drawing = self._known()
        shards = drawing.shards(count, epoch)
        if key == _REPEATED:
            return Lane(Walk(self.stream, shards), BufferedOrder(range(1), 1, None))
        part, lanes = drawing.part(key), drawing.processes * drawing.lanes
        if lengths is None and drawing.shuffle:  # no lane knows where in a shard the part of another ends
            own = shards[drawing.process * drawing.lanes + key :: lanes]
            walk = Walk(self.stream, own, repeats=lanes > 1, alone=lanes == 1)
            part = range(len(part))
        else:
            walk = Walk(self.stream, shards, whole=not drawing.shuffle)
        return Lane(walk, BufferedOrder(part, self._shuffle_buffer, drawing.draws(epoch, key)))

    def _known(self) -> Drawing:
        assert self.drawing is not None
        return self.drawing

    def _checksum(self) -> int:
        return zlib.crc32(repr((len(self.stream.shards), self.stream.lengths and list(self.stream.lengths))).encode())

    def _check_shards(self) -> None:
        """Check, where shards are divided whole, that each lane has one, and say what that means for an epoch."""
        drawing, shards = self._known(), len(self.stream.shards)
        if self.stream.lengths is not None or not drawing.shuffle:
            return
        if shards < drawing.processes * drawing.lanes:
            raise ArgumentError(
                'num_workers',
                f'is {drawing.lanes}, with {drawing.processes} processes, and the data set has {shards} shards of unknown '
                'lengths, of which each worker needs one; give fewer workers, or more shards',
            )
        if drawing.processes * drawing.lanes > 1:
            print_log(
                f'the lengths of the {shards} shards are not known: each worker of each process draws its part of the '
                f'{drawing.total:,} samples from shards of its own, so that an epoch may leave out some and repeat others; whether num_samples is right is not checked',
                'current',
                logging.WARNING,
            )


def stream_of(dataset: Any) -> StreamImages | None:
    """Return what a dataset reads if it is a stream, else ``None``.

    Args:
        dataset: A dataset, or a wrapper with its attributes.
    """
    source = getattr(dataset, 'source', None)
    return source if isinstance(source, StreamImages) else None


def _close_all() -> None:
    for images in list(_ALL):
        images.close()


# A worker that is forked would hold the pipes of this process open, whose commands then never end.
before_fork(_close_all)


class _Count:
    """A sampler of indices that say nothing, as many as another draws.

    A stream has no use for a permutation of its length, which takes memory.
    """

    def __init__(self, sampler: DefaultSampler | SpreadSampler) -> None:
        self._sampler = sampler

    @property
    def epoch(self) -> int:
        return self._sampler.epoch

    def __iter__(self) -> Any:
        return iter(range(len(self)))

    def __len__(self) -> int:
        return len(self._sampler)
