"""Tracing: one run of a network, which shows which dimensions of its tensors are the same channels."""

from motivation.weight_maps.tracing import layer_rules, shape_rules
from motivation.weight_maps.tracing.spaces import Space
from motivation.weight_maps.tracing.trace import Step, Trace, takes_channel_statistics, trace

__all__ = [
    'Space',
    'Step',
    'Trace',
    'layer_rules',
    'shape_rules',
    'takes_channel_statistics',
    'trace',
]
