"""A shortened epoch takes its samples from the whole data set."""

import pytest
from mmengine.dataset import DefaultSampler

from motivation.datasets.spread_sampler import SpreadSampler
from motivation.errors import ArgumentError


def test_an_ordered_sampler_is_taken_evenly_from_its_first_to_its_last_samples():
    assert list(SpreadSampler(DefaultSampler(range(10), shuffle=False), 2, 2)) == [0, 2, 5, 7]
    assert list(SpreadSampler(DefaultSampler(range(8), shuffle=False), 4, 2)) == list(range(8))


def test_every_epoch_of_a_shuffled_sampler_is_another_part_of_the_set():
    sampler = SpreadSampler(DefaultSampler(range(100), shuffle=True, seed=0), 2, 5)
    seen, epochs = set(), []
    for epoch in range(60):
        sampler.set_epoch(epoch)
        assert sampler.epoch == epoch
        epochs.append(list(sampler))
        assert len(set(epochs[-1])) == len(sampler) == 10 and list(sampler) == epochs[-1]
        seen.update(epochs[-1])
    assert len(seen) > 95 and epochs[0] != epochs[1]


@pytest.mark.parametrize('shuffle', [False, True])
def test_processes_draw_different_samples_although_their_lengths_are_padded(shuffle):
    drawn = []
    for rank in range(3):
        sampler = DefaultSampler(range(31), shuffle=shuffle, seed=0)
        sampler.rank, sampler.world_size, sampler.num_samples, sampler.total_size = rank, 3, 11, 33
        drawn += list(SpreadSampler(sampler, 5, 2))
    assert len(set(drawn)) == 30


def test_more_batches_than_there_are_is_an_error():
    with pytest.raises(
        ArgumentError, match=r'^num_batch_per_epoch is 4, and an epoch has 10 samples, which make 3 batches;'
    ):
        SpreadSampler(DefaultSampler(range(10), shuffle=False), 4, 3, drop_last=True)


def test_all_batches_may_end_with_an_incomplete_one():
    assert list(SpreadSampler(DefaultSampler(range(10), shuffle=False), 4, 3)) == list(range(10))
