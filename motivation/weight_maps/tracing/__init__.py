"""Runs a network once and finds which dimensions of its tensors are the same channels."""

from motivation.weight_maps.tracing import layer_rules, shape_rules
from motivation.weight_maps.tracing.spaces import Space
from motivation.weight_maps.tracing.trace import (
    Step,
    Trace,
    slow_attention,
    takes_channel_statistics,
    trace,
)

__all__ = [
    'Space',
    'Step',
    'Trace',
    'layer_rules',
    'shape_rules',
    'slow_attention',
    'takes_channel_statistics',
    'trace',
]
