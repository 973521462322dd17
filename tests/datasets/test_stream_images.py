import gc
import io
import multiprocessing
import weakref
from itertools import chain

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import DATA_SAMPLERS
from PIL import Image
from torch.utils.data import DataLoader

from motivation.datasets import (
    ConcatDataset,
    DeviceDataLoader,
    TimmDataset,
    collate_images,
    spread,
    stream_lanes,
    stream_of,
)
from motivation.datasets.decoding import Decoder
from motivation.datasets.image_dataset import ImageDataset
from motivation.datasets.seeded import SeededDataset
from motivation.datasets.stream_images import StreamImages
from motivation.datasets.stream_lanes import RawSample
from motivation.engine.epoch_batches import EpochBatches
from motivation.errors import ConfigError

LENGTHS = [5, 9, 1, 12, 0, 7, 6]
TOTAL = sum(LENGTHS)


def png(number):
    file = io.BytesIO()
    Image.new('L', (4, 4), number).save(file, 'PNG')
    return file.getvalue()


class Shards:
    """A stream of images of one grey level each, 0, 1, 2, ... in stored order."""

    start_method = None

    def __init__(self, lengths=LENGTHS, known=True, total=None):
        self.held = lengths
        self.lengths = lengths if known else None
        self.shards = [f'shard {number}' for number in range(len(lengths))]
        self.total = sum(lengths) if total is None else total
        self.classes = ['a', 'b']
        self.opened = []
        self.alive = weakref.WeakSet()

    def read(self, shard, first):
        self.opened.append((shard, first))
        begin = sum(self.held[:shard])
        for number in range(begin + first, begin + self.held[shard]):
            sample = Named(f'{self.shards[shard]}/{number}', png(number), number % 2)
            self.alive.add(sample)
            yield sample


class Named(RawSample):
    __hash__ = object.__hash__


def loader_of(stream, batch_size=4, process=0, processes=1, workers=0, shuffle=True, buffer=6, drop_last=False):
    """Return a loader of a process as the runner builds it."""
    source = StreamImages(stream, Decoder('opencv', 'L'), buffer)
    dataset = SeededDataset(ImageDataset(source, stream.classes), (0, process))
    sampler = DefaultSampler(dataset, shuffle, seed=3)
    sampler.rank, sampler.world_size = process, processes
    sampler.num_samples = -(-len(dataset) // processes)
    options = dict(collate_fn=collate_images, num_workers=workers, drop_last=drop_last)
    loader = DataLoader(dataset, batch_size, sampler=sampler, **options)
    source.follow(loader)
    return loader


def levels(batches):
    return [batch['inputs'][:, 0, 0, 0].tolist() for batch in batches]


def epoch_of(loader, epoch=0, done=0):
    loader.sampler.set_epoch(epoch)
    return levels(EpochBatches(loader, print).after(done, epoch + 1))


@pytest.mark.parametrize(
    ('processes', 'workers', 'known'), [(1, 0, True), (1, 2, True), (2, 2, True), (3, 0, True), (1, 0, False)]
)
def test_every_image_comes_once_an_epoch_over_processes_and_workers(processes, workers, known):
    drawn = []
    for process in range(processes):
        loader = loader_of(Shards(known=known), process=process, processes=processes, workers=workers)
        drawn.append(list(chain(*epoch_of(loader))))
    share = -(-TOTAL // processes)
    assert [len(of) for of in drawn] == [share] * processes
    distinct = [of[: len(range(process, TOTAL, processes))] for process, of in enumerate(drawn)]
    assert sorted(chain(*distinct)) == list(range(TOTAL))  # what rounds up comes last


def test_order_differs_by_epoch_and_is_the_same_again_whatever_was_drawn_before():
    loader = loader_of(Shards())
    epochs = [epoch_of(loader, epoch) for epoch in range(3)]
    assert all(one != other for one, other in ((epochs[0], epochs[1]), (epochs[1], epochs[2]), (epochs[0], epochs[2])))
    assert all(list(chain(*epoch)) != sorted(chain(*epoch)) for epoch in epochs)
    assert epoch_of(loader_of(Shards()), 2) == epochs[2] == epoch_of(loader, 2)


@pytest.mark.parametrize(('known', 'workers'), [(True, 2), (False, 0)])
def test_validation_totals_are_exact_over_processes(known, workers):
    drawn = []
    for process in range(3):
        loader = loader_of(Shards(known=known), 4, process, 3, workers, shuffle=False)
        drawn.append(list(chain(*levels(loader))))
    assert list(chain(*levels(loader))) == drawn[-1]  # as of one validation after another
    # MMEngine takes the samples of the processes in turns, and cuts what is more than the data set has.
    together = [level for turn in zip(*drawn, strict=True) for level in turn][:TOTAL]
    assert sorted(together) == list(range(TOTAL))
    assert list(chain(*levels(loader_of(Shards(known=known), shuffle=False)))) == list(range(TOTAL))


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize('lanes', [1, 3])
def test_epoch_goes_on_bit_for_bit_after_any_batch_with_any_number_of_workers(known, lanes):
    whole = loader_of(Shards([3] * 16, known))
    state = stream_of(whole.dataset).state_dict() | {'lanes': lanes}
    stream_of(whole.dataset).load_state_dict(state)
    batches = epoch_of(whole, 1)
    assert len(batches) == 12
    for done, workers in ((1, 0), (5, 2), (11, 0)):
        resumed = loader_of(Shards([3] * 16, known), workers=workers)
        stream_of(resumed.dataset).load_state_dict(state)
        assert epoch_of(resumed, 1, done) == batches[done:]


def test_shards_that_are_over_are_not_opened_and_passed_images_not_decoded(monkeypatch):
    stream = Shards([10] * 20)
    loader = loader_of(stream, 10, buffer=3)
    batches = epoch_of(loader)
    stream.opened.clear()
    decoded = []
    monkeypatch.setattr(
        Decoder, '__call__', lambda self, image, call=Decoder.__call__: decoded.append(1) or call(self, image)
    )
    assert epoch_of(loader, 0, 16) == batches[16:]
    order = stream_of(loader.dataset).drawing.shards(20, 0)
    assert {shard for shard, _ in stream.opened} <= set(order[14:]) and len(decoded) == 40


def test_no_more_undecoded_images_are_held_than_wait_in_the_buffer():
    stream, most = Shards([50] * 4), 0
    gc.disable()
    for _ in EpochBatches(loader_of(stream, 5, buffer=12), print).after(0, 1):
        most = max(most, len(stream.alive))
    gc.enable()
    assert 10 < most <= 12 + 3  # the last one, and two in the hands of generators


def test_whole_shards_are_divided_where_lengths_are_not_known_and_it_is_said(monkeypatch):
    said = []
    monkeypatch.setattr('motivation.datasets.stream_images.print_log', lambda text, *_: said.append(text))
    loaders = [loader_of(Shards([4, 4, 8, 8], known=False), 4, process, 2) for process in range(2)]
    drawn = [list(chain(*epoch_of(loader))) for loader in loaders]
    assert [len(of) for of in drawn] == [12, 12] and len(set(drawn[0])) + len(set(drawn[1])) <= 24
    assert not set(drawn[0]) & set(drawn[1])
    assert said[0].startswith('the lengths of the 4 shards are not known: each worker of each process')
    with pytest.raises(ConfigError, match=r'^num_workers is 3, with 2 processes, and the data set has 4 shards of unk'):
        loader_of(Shards([4, 4, 8, 8], known=False), 4, 0, 2, 3)


@pytest.mark.parametrize(('stated', 'how'), [([4, 6, 4], 'fewer'), ([4, 4, 4], 'more')])
def test_wrong_statement_of_a_length_is_an_error(stated, how):
    stream = Shards([4, 5, 4])
    stream.lengths, stream.total = stated, sum(stated)
    with pytest.raises(ConfigError, match=rf"^'shard 1' holds {how} than the {stated[1]} samples that"):
        epoch_of(loader_of(stream))


def test_samples_that_training_never_sees_are_said(monkeypatch):
    said = []
    monkeypatch.setattr(stream_lanes, 'print_log', lambda message, *_: said.append(message))
    assert len(list(loader_of(Shards([4, 5, 4], known=False, total=12)))) == 3
    assert said == [
        'dataset.num_samples is 12, and the shards hold more; give the number that they hold, or the rest is never seen'
    ]


@pytest.mark.parametrize(('total', 'how'), [(14, 'fewer'), (12, 'more')])
def test_wrong_number_of_samples_is_an_error_in_validation(total, how):
    with pytest.raises(ConfigError, match=rf'^dataset\.num_samples is {total}, and the shards hold {how}(, 13)?; give'):
        levels(loader_of(Shards([4, 5, 4], known=False, total=total), shuffle=False))


def test_shard_that_cannot_be_read_is_named():
    stream = Shards()
    stream.read = lambda shard, first: iter([1 / 0])
    with pytest.raises(ConfigError, match=r"^'shard \d' cannot be read: ZeroDivisionError.*continue with --resume"):
        epoch_of(loader_of(stream))


def test_images_to_look_at_are_from_several_shards_in_ascending_order():
    dataset = loader_of(Shards([100] * 64)).dataset
    indices = spread(dataset, 40)
    assert indices == sorted(set(indices)) and len(indices) == 40
    assert len({index // 100 for index in indices}) == 16
    assert spread(dataset, 5_000)[:3] == [0, 1, 2] and len(spread(dataset, 5_000)) == 5_000
    assert spread(loader_of(Shards(known=False)).dataset, 3) == [0, 1, 2]


def test_broken_images_and_labels_are_named_or_left_out():
    stream = Shards([3])
    stream.read = lambda *_: iter(
        [RawSample('s/0', b'', 0), RawSample('s/1', png(1), 5), RawSample('s/2', None, None, 'has no image')]
    )
    source = StreamImages(stream, Decoder('opencv', 'L'), 1)
    skipping = ImageDataset(source, stream.classes, on_error='skip')
    assert [skipping[index]['skipped'] for index in range(3)] == [
        ("'s/0'", 'is unreadable: it is empty or not an image'),
        ("'s/1'", 'has the label 5, but num_classes is 2'),
        ("'s/2'", 'has no image'),
    ]


def test_augmentation_depends_on_the_place_and_not_on_workers():
    drawn = []
    for workers in (0, 2):
        loader = loader_of(Shards([8] * 4), 8, workers=workers)
        stream_of(loader.dataset).load_state_dict(
            {'lanes': 2, 'shards': stream_of(loader.dataset).state_dict()['shards']}
        )
        inner = loader.dataset.dataset
        inner.transforms = [noise]
        drawn.append([batch['inputs'] for batch in EpochBatches(loader, print).after(0, 1)])
    assert all(map(torch.equal, *drawn))


def noise(image):
    return image.double() + torch.rand(1)


def test_what_cannot_be_drawn_from_a_stream_is_refused(monkeypatch):
    dataset = loader_of(Shards()).dataset
    infinite = DATA_SAMPLERS.build(dict(type='InfiniteSampler', dataset=dataset))
    with pytest.raises(ConfigError, match=r'^sampler is InfiniteSampler, and the data set is read as a stream, which'):
        stream_of(dataset).follow(DataLoader(dataset, 4, sampler=infinite))
    monkeypatch.setattr('motivation.datasets.timm_dataset.open_images', lambda *_: Shards())
    config = dict(type='TimmDataset', root='', name='tfds/some')
    assert stream_of(TimmDataset('', 'tfds/some')).stream.total == TOTAL
    with pytest.raises(ConfigError, match=r'^datasets\.0 is read as a stream, which is no part of another data set'):
        ConcatDataset([config])
    with pytest.raises(ConfigError, match=r'^name is that of a stream, which DeviceDataLoader does not keep; write'):
        DeviceDataLoader.make_dataset(config, lambda registry, node, path: registry.build(node))


def test_what_is_open_is_closed_before_a_fork_and_read_again_after_it():
    stream, closed = Shards(), []
    read = stream.read

    def closing(shard, first):
        try:
            yield from read(shard, first)
        finally:
            closed.append(shard)

    stream.read = closing
    dataset = loader_of(stream).dataset
    dataset[0]
    process = multiprocessing.get_context('fork').Process(target=int)
    process.start()
    assert closed == [0]
    process.join()
    assert dataset[1]['inputs'].flatten()[0] == 1
