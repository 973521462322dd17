"""The samplers against written-out counts and distributions."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from motivation.datasets import samplers
from motivation.datasets.places import PlacedSampler
from motivation.datasets.samplers import BalancedSampler, RepeatAugSampler, WeightedSampler
from motivation.errors import ConfigError
from motivation.registry import DATA_SAMPLERS


class Labelled:
    """A data set of labels without images."""

    def __init__(self, targets):
        self.targets = targets

    def __len__(self):
        return len(self.targets)


UNBALANCED = Labelled([0] * 50 + [1] * 9 + [3] * 2 + [-1] * 4)
ALL = [
    (BalancedSampler, {}),
    (WeightedSampler, dict(class_weights=[1.0, 5.0, 1.0, 20.0])),
    (RepeatAugSampler, {}),
]


def epoch(sampler, number=0):
    sampler.set_epoch(number)
    return list(sampler)


def of_processes(monkeypatch, build, processes):
    """Return the epoch of each process."""
    epochs = []
    for rank in range(processes):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, processes))
        epochs.append(list(build()))
    return epochs


def test_balanced_sampler_draws_each_class_equally_often_and_its_images_in_turn():
    drawn = epoch(BalancedSampler(UNBALANCED, seed=0))
    assert len(drawn) == 65
    counts = Counter(UNBALANCED.targets[index] for index in drawn)
    assert set(counts) == {0, 1, 3} and set(counts.values()) == {21, 22}
    for label, images in ((0, range(50)), (1, range(50, 59)), (3, range(59, 61))):
        times = Counter(index for index in drawn if UNBALANCED.targets[index] == label)
        often = [times[index] for index in images]
        assert max(often) - min(often) <= 1, label
    # Over the epochs no image of a large class is left out.
    sampler = BalancedSampler(UNBALANCED, seed=0)
    assert {index for number in range(12) for index in epoch(sampler, number)} == set(range(61))


def test_balanced_sampler_draws_by_each_of_several_labels():
    targets = torch.tensor([[1, 0, 0]] * 8 + [[1, 1, 0]] * 2 + [[0, 0, 0]] * 3 + [[0, 0, 1]]).float()
    drawn = Counter(epoch(BalancedSampler(Labelled(targets), samples_per_epoch=300, seed=0)))
    assert drawn[13] == 100 and not any(drawn[index] for index in (10, 11, 12))
    assert [drawn[index] for index in range(8)] == [10] * 8  # a tenth of what is drawn for the first label
    assert [drawn[index] for index in (8, 9)] == [60, 60]  # and half of what is for the second


@pytest.mark.parametrize('given', ['classes', 'images', 'text', 'npy'])
def test_weighted_sampler_draws_in_proportion_to_the_weights(tmp_path, given):
    of_classes = [1.0, 4.0, 0.0, 10.0]
    weights = np.array([of_classes[label] if label >= 0 else 0.0 for label in UNBALANCED.targets])
    arguments = dict(sample_weights=weights.tolist())
    if given == 'classes':
        arguments = dict(class_weights=of_classes)
    elif given == 'text':
        np.savetxt(tmp_path / 'weights.txt', weights)
        arguments = dict(sample_weights=str(tmp_path / 'weights.txt'))
    elif given == 'npy':
        np.save(tmp_path / 'weights.npy', weights)
        arguments = dict(sample_weights=str(tmp_path / 'weights.npy'))
    drawn = Counter(epoch(WeightedSampler(UNBALANCED, samples_per_epoch=20_000, seed=1, **arguments)))
    counts = np.array([drawn[index] for index in range(65)])
    assert not counts[weights == 0].any()
    likely = weights > 0
    assert chisquare(counts[likely], 20_000 * weights[likely] / weights.sum()).pvalue > 0.01


def test_repeated_augmentation_draws_each_image_in_a_row(monkeypatch):
    data = Labelled(range(30))
    drawn = epoch(RepeatAugSampler(data, seed=0))
    assert len(drawn) == 30 and drawn[::3] == drawn[1::3] == drawn[2::3] and len({*drawn}) == 10
    assert len({*epoch(RepeatAugSampler(data, num_repeats=3, samples_per_epoch=90, seed=0))}) == 30
    three = of_processes(monkeypatch, lambda: RepeatAugSampler(data, seed=0), 3)
    assert three[0] == three[1] == three[2] == drawn[::3]  # copies of an image go to different processes


@pytest.mark.parametrize(('sampler', 'arguments'), ALL)
def test_order_depends_on_seed_and_epoch_alone(sampler, arguments):
    orders = [
        epoch(sampler(UNBALANCED, seed=seed, **arguments), number) for seed, number in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch(sampler(UNBALANCED, seed=0, **arguments), 1) == orders[1]
    placed = PlacedSampler(sampler(UNBALANCED, seed=0, **arguments))
    placed.sampler.set_epoch(1)
    placed.begin = 20
    assert [int(index) for index in placed] == orders[1][20:]


@pytest.mark.parametrize(('sampler', 'arguments'), ALL)
def test_processes_share_one_order(monkeypatch, sampler, arguments):
    whole = list(sampler(UNBALANCED, seed=0, **arguments))
    shares = of_processes(monkeypatch, lambda: sampler(UNBALANCED, seed=0, **arguments), 3)
    assert [len(share) for share in shares] == [22, 22, 22]
    together = [index for places in zip(*shares, strict=True) for index in places]
    assert together == [*whole, whole[0]]  # 65 samples do not divide by 3


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(type='WeightedSampler'), '^class_weights is None, sample_weights is None; give exactly one of'),
        (
            dict(type='WeightedSampler', class_weights=[1.0, 2.0]),
            '^class_weights has 2 numbers, and the data has 4 classes',
        ),
        (dict(type='WeightedSampler', class_weights=[0.0] * 4), '^class_weights is 0 for every image'),
        (
            dict(type='WeightedSampler', sample_weights=[1.0]),
            r'^sample_weights has numbers of shape \(1,\), .* 65 images',
        ),
        (
            dict(type='WeightedSampler', sample_weights='none.txt'),
            "^sample_weights is 'none.txt', which cannot be read",
        ),
        (
            dict(type='RepeatAugSampler', samples_per_epoch=196),
            '^samples_per_epoch must be at most 195, 3 times the 65 images',
        ),
        (dict(type='BalancedSampler', samples_per_epoch=0), '^samples_per_epoch must be at least 1'),
    ],
)
def test_wrong_argument_is_named(config, message):
    with pytest.raises(ConfigError) as caught:
        DATA_SAMPLERS.build(config, default_args=dict(dataset=UNBALANCED, seed=0))
    with pytest.raises(ValueError, match=message):
        raise caught.value.error


def test_labels_that_a_sampler_cannot_use_are_an_error():
    several = Labelled(torch.eye(3))
    with pytest.raises(ConfigError, match=r'^class_weights are for one label an image, and the data has several; give'):
        WeightedSampler(several, class_weights=[1.0, 1.0, 1.0])
    with pytest.raises(ConfigError, match='no image has a label'):
        BalancedSampler(Labelled([-1, -1]))
    with pytest.raises(ConfigError, match=r'the labels of list_iterator are not known|the labels of object'):
        BalancedSampler(type('object', (), {'__len__': lambda self: 3})())
