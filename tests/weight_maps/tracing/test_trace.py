"""What a run ties together, on layers small enough to say by hand."""

import pytest
import torch
from torch import nn

from motivation.utils.example import ImageExample
from motivation.weight_maps.tracing import trace
from motivation.weight_maps.tracing.spaces import flatten


class Network(nn.Module):
    """A module made of parts and of a function that runs them."""

    def __init__(self, run, **parts):
        super().__init__()
        self.run = run
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, images):
        return self.run(self, images)


def spaces_of(run, size=(3, 8, 8), **parts):
    return trace(Network(run, **parts), ImageExample(size)).spaces


def same(one, other):
    return one.find() is other.find()


def test_writer_reader_norm_and_residual_sum_share_a_space():
    conv = dict(
        stem=nn.Conv2d(3, 6, 3, padding=1),
        norm=nn.BatchNorm2d(6),
        body=nn.Conv2d(6, 6, 3, padding=1),
        head=nn.Linear(6, 2),
    )

    def run(net, x):
        x = net.norm(net.stem(x))
        x = x + net.body(x)
        return net.head(x.mean((2, 3)))

    spaces = spaces_of(run, **conv)
    stream = spaces['stem.weight'][0]
    for name, dim in [
        ('stem.bias', 0),
        ('norm.weight', 0),
        ('norm.running_var', 0),
        ('body.weight', 0),
        ('body.weight', 1),
        ('head.weight', 1),
    ]:
        assert same(spaces[name][dim], stream), name
    assert not stream.is_fixed
    assert spaces['stem.weight'][1].is_fixed and spaces['head.weight'][0].is_fixed and spaces['head.bias'][0].is_fixed
    assert not same(spaces['stem.weight'][2], stream)


def test_depthwise_convolution_passes_its_channels_on():
    spaces = spaces_of(
        lambda net, x: net.head(net.deep(net.stem(x)).mean((2, 3))),
        stem=nn.Conv2d(3, 6, 1), deep=nn.Conv2d(6, 6, 3, groups=6), head=nn.Linear(6, 2),
    )  # fmt: skip
    assert same(spaces['stem.weight'][0], spaces['deep.weight'][0]) and same(
        spaces['deep.weight'][0], spaces['head.weight'][1]
    )
    assert spaces['deep.weight'][1].is_fixed


def test_grouped_convolution_is_groups_times_width_on_both_sides():
    spaces = spaces_of(
        lambda net, x: net.head(net.grouped(net.stem(x)).mean((2, 3))),
        stem=nn.Conv2d(3, 6, 1), grouped=nn.Conv2d(6, 4, 3, groups=2), head=nn.Linear(4, 2),
    )  # fmt: skip
    read, written = (flatten(spaces[name][dim], 'product') for name, dim in (('stem.weight', 0), ('head.weight', 1)))
    assert [part.size for part in read] == [2, 3] and [part.size for part in written] == [2, 2]
    assert read[0] is written[0] and same(read[1], spaces['grouped.weight'][1])


@pytest.mark.parametrize('groups', [1, 2])
def test_transposed_convolution_reads_its_first_dimension(groups):
    spaces = spaces_of(
        lambda net, x: net.head(net.up(net.stem(x)).mean((2, 3))),
        stem=nn.Conv2d(3, 6, 1), up=nn.ConvTranspose2d(6, 4, 2, groups=groups), head=nn.Linear(4, 2),
    )  # fmt: skip
    assert same(spaces['stem.weight'][0], spaces['up.weight'][0])
    assert same(flatten(spaces['head.weight'][1], 'product')[-1], spaces['up.weight'][1])


def test_gate_of_a_split_projection_ties_its_halves():
    def run(net, x):
        value, gate = net.both(x.mean((2, 3))).chunk(2, dim=1)
        return net.head(value * gate.sigmoid())

    spaces = spaces_of(run, both=nn.Linear(3, 10), head=nn.Linear(5, 2))
    halves = flatten(spaces['both.weight'][0], 'sum')
    assert [half.size for half in halves] in ([5, 5], [5]) and all(
        same(half, spaces['head.weight'][1]) for half in halves
    )
    assert same(spaces['both.weight'][0], spaces['both.bias'][0])


def test_flattened_image_is_channels_times_positions():
    spaces = spaces_of(lambda net, x: net.head(net.stem(x).flatten(1)), stem=nn.Conv2d(3, 6, 1), head=nn.Linear(384, 2))
    channels, *places = flatten(spaces['head.weight'][1], 'product')
    assert same(channels, spaces['stem.weight'][0]) and all(place.is_fixed for place in places)


def test_statistics_over_channels_are_reported_with_the_module():
    def run(net, x):
        return net.head(net.norm(net.stem(x.mean((2, 3)))))

    result = trace(
        Network(run, stem=nn.Linear(3, 6), norm=nn.LayerNorm(6), head=nn.Linear(6, 2)), ImageExample((3, 8, 8))
    )
    growing = [(name, space.find()) for name, space in result.reduced if not space.is_fixed]
    assert growing == [('norm', result.spaces['stem.weight'][0].find())]


def test_operations_tell_settings_but_not_numbers_of_channels():
    def operations(channels, stride):
        net = Network(
            lambda net, x: net.deep(net.stem(x)).relu() * 0.5,
            stem=nn.Conv2d(3, channels, 1), deep=nn.Conv2d(channels, channels, 3, stride=stride, groups=channels),
        )  # fmt: skip
        return trace(net, ImageExample((3, 8, 8))).operations

    assert operations(4, 1) == operations(6, 1) != operations(4, 2)
    assert [module for module, _ in operations(4, 1)] == ['stem', 'deep', '', '']


def test_nothing_is_computed_and_nothing_changes():
    net = Network(lambda net, x: net.norm(net.stem(x)), stem=nn.Conv2d(3, 6, 1), norm=nn.BatchNorm2d(6)).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    trace(net, ImageExample((3, 20_000, 20_000)))  # 9.6 GB of images, if they were there
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and net.training and net.norm.training
