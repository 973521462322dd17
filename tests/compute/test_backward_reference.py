"""Backward MACs of operators, compared with the same operators written as explicit matrix products.

Legend: N images, C channels, G groups, T steps, F features; attention: Q (..., L, E), K (..., S, E), V (..., S, D).
"""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from motivation.compute import formulas
from motivation.compute.forward_macs import count_forward
from motivation.compute.macs import Macs, measure_model
from motivation.compute.step_macs import count_train_step
from motivation.models import TimmClassifier


class MatrixProducts(TorchDispatchMode):
    """Counts the MACs of executed matrix products from their shapes."""

    def __init__(self):
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            left, right = args
            self.macs += math.prod(left.shape) * right.shape[-1]
        else:
            assert func._schema.name.removeprefix('aten::') not in formulas.MULTIPLYING
        return func(*args, **(kwargs or {}))


def products(network, inputs):
    """Return the MACs of matrix products in the forward and the backward pass of one batch."""
    with MatrixProducts() as forward:
        output = network(inputs)
    with MatrixProducts() as backward:
        output.square().sum().backward()
    return forward.macs, backward.macs


def assert_counts(network, inputs, macs):
    """Check the forward MACs by both counters and the backward MACs of a classifier with ``network``."""
    model = TimmClassifier('test_resnet', num_classes=4)
    model.backbone = network
    data = {'inputs': inputs, 'targets': torch.zeros(len(inputs), dtype=torch.long)}
    assert count_train_step(model, data).modules[''] == macs
    assert count_forward(network, inputs).total == macs[0]


def assert_same_function(operator, explicit, inputs, weights=()):
    """Check that outputs and the gradients of inputs and weights are equal."""
    for tensor in inputs:
        tensor.requires_grad_()
    results = []
    for function in (operator, explicit):
        output = function(*inputs)
        grad = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
        results.append((output, *torch.autograd.grad(output, (*inputs, *weights), grad)))
    torch.testing.assert_close(results[1], results[0])


class Im2col(nn.Module):
    """A convolution as matrix products of its kernels with unfolded patches."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        conv, windows = self.conv, self.windows()
        if isinstance(conv, nn.ConvTranspose2d):
            weight = conv.weight.reshape(conv.groups, conv.in_channels // conv.groups, -1).transpose(1, 2)
            columns = weight @ x.reshape(len(x), conv.groups, weight.shape[2], -1)
            return F.fold(columns.flatten(1, 2), self.upsampled(x), **windows)
        weight = conv.weight.reshape(conv.groups, conv.out_channels // conv.groups, -1)
        columns = F.unfold(x, **windows).reshape(len(x), conv.groups, weight.shape[2], -1)
        size = [
            (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for side, kernel, dilation, padding, stride in zip(x.shape[2:], *windows.values(), strict=True)
        ]
        return (weight @ columns).reshape(len(x), conv.out_channels, *size)

    def windows(self):
        return {name: getattr(self.conv, name) for name in ('kernel_size', 'dilation', 'padding', 'stride')}

    def upsampled(self, x):
        kernels = zip(x.shape[2:], *self.windows().values(), self.conv.output_padding, strict=True)
        return [
            (side - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + further
            for side, kernel, dilation, padding, stride, further in kernels
        ]


CONVOLUTIONS = {
    'plain': nn.Conv2d(8, 12, 3, padding=1, bias=False),
    'grouped': nn.Conv2d(8, 12, 3, padding=1, groups=4, bias=False),
    'depthwise': nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
    'depthwise, two channels each': nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False),
    'dilated and strided': nn.Conv2d(8, 12, 3, padding=2, dilation=2, stride=2, bias=False),
    'oblong': nn.Conv2d(8, 12, (3, 1), padding=(1, 0), stride=(1, 2), bias=False),
    'transposed': nn.ConvTranspose2d(8, 12, 3, stride=2, padding=1, output_padding=1, bias=False),
    'grouped transposed': nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4, bias=False),
    'dilated transposed': nn.ConvTranspose2d(8, 12, 3, dilation=2, groups=2, bias=False),
}


@pytest.mark.parametrize('kind', CONVOLUTIONS)
def test_convolution(kind):
    # The input of the first convolution needs no gradient, that of the second does.
    first, second = nn.Conv2d(3, 8, 1, bias=False), CONVOLUTIONS[kind]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images = torch.randn(2, 3, 6, 7)
    double = copy.deepcopy(second).double()
    assert_same_function(double, Im2col(double), [torch.randn(2, 8, 6, 7, dtype=torch.double)], [double.weight])
    explicit = products(nn.Sequential(Im2col(first), Im2col(second), head), images)
    assert_counts(nn.Sequential(first, second, head), images, explicit)


class FiveProducts(torch.autograd.Function):
    """Attention that recomputes its scores in the backward pass."""

    @staticmethod
    def forward(ctx, query, key, value):
        ctx.save_for_backward(query, key, value)
        return FiveProducts.weights(query, key) @ value

    @staticmethod
    def weights(query, key):
        return (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)

    @staticmethod
    def backward(ctx, grad):
        query, key, value = ctx.saved_tensors
        weights = FiveProducts.weights(query, key)  # 1: the scores
        grad_value = weights.transpose(-2, -1) @ grad  # 2
        grad_weights = grad @ value.transpose(-2, -1)  # 3
        grad_scores = weights * (grad_weights - (weights * grad_weights).sum(-1, keepdim=True))
        grad_scores = grad_scores / query.shape[-1] ** 0.5
        return grad_scores @ key, grad_scores.transpose(-2, -1) @ query, grad_value  # 4 and 5


def four_products(query, key, value):
    """Compute attention and keep the scores for the backward pass."""
    return FiveProducts.weights(query, key) @ value


class Attention(nn.Module):
    """Attention of two heads with L queries, S keys and values from the pixels of an image."""

    def __init__(self, queries, keys, width, value_width, attention):
        super().__init__()
        self.queries, self.keys, self.attention = queries, keys, attention
        self.q, self.k, self.v = (nn.Linear(3, 2 * size, bias=False) for size in (width, width, value_width))

    def forward(self, x):
        pixels = x.flatten(2).transpose(1, 2)
        rows = pixels[:, : self.queries], pixels[:, : self.keys], pixels[:, : self.keys]
        heads = [
            layer(tokens).unflatten(2, (2, -1)).transpose(1, 2)
            for layer, tokens in zip((self.q, self.k, self.v), rows, strict=True)
        ]
        return self.attention(*heads).mean((1, 2))


@pytest.mark.parametrize(
    ('queries', 'keys', 'width', 'value_width', 'attention'),
    [
        (5, 7, 4, 4, FiveProducts.apply),  # the fused kernel
        (7, 5, 6, 6, FiveProducts.apply),
        (5, 7, 6, 4, four_products),  # it takes no values of another width; torch then computes single products
        (5, 7, 4, 6, four_products),
    ],
)
def test_attention(queries, keys, width, value_width, attention):
    shapes = (queries, width), (keys, width), (keys, value_width)
    tensors = [torch.randn(2, 2, *shape, dtype=torch.double) for shape in shapes]
    assert_same_function(F.scaled_dot_product_attention, attention, tensors)
    images = torch.randn(2, 3, 3, 3)
    sizes = queries, keys, width, value_width
    explicit = products(Attention(*sizes, attention), images)
    assert_counts(Attention(*sizes, F.scaled_dot_product_attention), images, explicit)


def test_attention_formulas_with_another_value_width():
    """Kernels on other devices accept such values."""
    shapes = [2, 3, 5, 4], [2, 3, 7, 4], [2, 3, 7, 6]
    leaves = [torch.randn(shape, requires_grad=True) for shape in shapes]
    explicit = products(lambda tensors: FiveProducts.apply(*tensors), leaves)
    assert explicit == (formulas.attention_macs(*shapes), formulas.attention_backward_macs(*shapes))


class Unrolled(nn.Module):
    """A recurrent layer step by step, with one matrix product for the input and one for the state.

    ``state_gradient``: whether to compute the unneeded gradient of the initial state of zeros.
    """

    def __init__(self, layer, state_gradient=False):
        super().__init__()
        self.layer, self.state_gradient = layer, state_gradient

    def forward(self, x, *states):
        layer = self.layer
        if not states:
            states = [zeros.requires_grad_(self.state_gradient) for zeros in initial_states(layer, x)]
        runs = iter(zip(*states, strict=True))
        steps = x.unbind(1 if layer.batch_first else 0)
        for depth in range(layer.num_layers):
            outputs = self.run(steps, f'l{depth}', *next(runs))
            if layer.bidirectional:
                reverse = self.run(steps[::-1], f'l{depth}_reverse', *next(runs))[::-1]
                outputs = [torch.cat(pair, 1) for pair in zip(outputs, reverse, strict=True)]
            steps = outputs
        return torch.stack(steps, 1 if layer.batch_first else 0)

    def run(self, steps, name, hidden, cell=None):
        layer = self.layer
        weights = [getattr(layer, f'{kind}_{name}').t() for kind in ('weight_ih', 'weight_hh')]
        biases = [getattr(layer, f'{kind}_{name}') for kind in ('bias_ih', 'bias_hh')] if layer.bias else [0, 0]
        outputs = []
        for step in steps:
            inner, outer = step @ weights[0] + biases[0], hidden @ weights[1] + biases[1]
            if layer.mode == 'LSTM':
                gate, forget, new, out = (inner + outer).chunk(4, 1)
                cell = forget.sigmoid() * cell + gate.sigmoid() * new.tanh()
                hidden = out.sigmoid() * cell.tanh()
                if layer.proj_size:
                    hidden = hidden @ getattr(layer, f'weight_hr_{name}').t()
            elif layer.mode == 'GRU':
                (reset, update, new), (reset_h, update_h, new_h) = inner.chunk(3, 1), outer.chunk(3, 1)
                update = (update + update_h).sigmoid()
                hidden = (1 - update) * (new + (reset + reset_h).sigmoid() * new_h).tanh() + update * hidden
            else:
                hidden = torch.tanh(inner + outer) if layer.mode == 'RNN_TANH' else torch.relu(inner + outer)
            outputs.append(hidden)
        return outputs


def initial_states(layer, x, make=torch.zeros):
    """Return the hidden state and, for an LSTM, the cell state, each (layers x directions, N, features)."""
    rows, images = layer.num_layers * (1 + layer.bidirectional), x.shape[0 if layer.batch_first else 1]
    sizes = [layer.proj_size or layer.hidden_size, layer.hidden_size]
    return [make(rows, images, size) for size in sizes[: 1 + (layer.mode == 'LSTM')]]


class Output(nn.Module):
    """Returns the output of a recurrent layer without its last states."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *states):
        return self.layer(x, states if len(states) > 1 else states[0] if states else None)[0]


class Recurrent(nn.Module):
    """A linear layer, whose input needs no gradient, and a recurrent layer, along the rows of an image."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.layer = nn.Linear(15, 6, bias=False), layer

    def forward(self, x):
        return self.layer(self.first(x.transpose(1, 2).flatten(2))).mean(1)


RECURRENT = [
    (nn.LSTM, {}),
    (nn.LSTM, {'bias': False}),
    (nn.LSTM, {'num_layers': 2}),
    (nn.LSTM, {'bidirectional': True}),
    (nn.LSTM, {'num_layers': 2, 'bidirectional': True}),
    (nn.LSTM, {'proj_size': 4}),
    (nn.LSTM, {'proj_size': 4, 'num_layers': 2, 'bidirectional': True}),
    (nn.GRU, {}),
    (nn.GRU, {'num_layers': 2, 'bidirectional': True}),
    (nn.RNN, {}),
    (nn.RNN, {'num_layers': 2, 'bidirectional': True, 'nonlinearity': 'relu'}),
]


@pytest.mark.filterwarnings('ignore:LSTM with projections')
@pytest.mark.parametrize('batch_first', [False, True])
@pytest.mark.parametrize(('kind', 'options'), RECURRENT)
def test_recurrent_layer(kind, options, batch_first):
    layer = kind(6, 5, batch_first=batch_first, **options)
    weights = [parameter for parameter in layer.parameters() if parameter.ndim == 2]
    steps = torch.randn(3, 4, 6)  # in single precision, for which torch has the kernel of an LSTM that is counted
    states = initial_states(layer, steps, torch.randn)
    assert_same_function(Output(layer), Unrolled(layer), [steps, *states], weights)
    images = torch.randn(3, 3, 4, 5)
    # An LSTM without projection is one kernel, which always computes all gradients.
    whole = kind is nn.LSTM and not layer.proj_size
    explicit = products(Recurrent(Unrolled(layer, whole)), images)
    assert_counts(Recurrent(Output(layer)), images, explicit)


class Cell(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x):
        hidden = self.cell(x.flatten(1))
        return hidden[0] if isinstance(hidden, tuple) else hidden


@pytest.mark.parametrize(('kind', 'gates'), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_recurrent_cell(kind, gates):
    network, images = Cell(kind(12, 5)), torch.randn(3, 3, 2, 2)
    forward = 3 * gates * 5 * (12 + 5)
    # Gradients of both weights; neither the image nor the first state needs one.
    assert_counts(network, images, (forward, forward))


def test_sequencer():
    """It has bidirectional LSTMs along the rows and columns of an image."""
    model = TimmClassifier('sequencer2d_s', num_classes=10, layers=[1, 1, 1, 1])
    sample = {'inputs': torch.zeros(1, 3, 14, 14, dtype=torch.uint8), 'targets': torch.tensor([0])}
    macs = measure_model(model, sample)
    stem = 2 * 2 * model.backbone.stem.proj.weight.numel()  # its input needs no gradient
    assert macs.network.per_image > 0 and macs.step.backward == Macs(2 * macs.network.per_image - stem)
    assert all(parameter.grad is None for parameter in model.parameters())
    # Counting must not change the list of weights that an LSTM keeps besides its parameters.
    for network in (copy.deepcopy(model), model):
        network(torch.zeros(1, 3, 14, 14)).sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
