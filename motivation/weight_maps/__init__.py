"""Weight maps: the correspondence of the tensors of both models, and the transfer along it."""

from motivation.weight_maps.auto_map import AutoMap
from motivation.weight_maps.depth_map import DepthMap
from motivation.weight_maps.explicit_map import ExplicitMap
from motivation.weight_maps.optimizer_state import OptimizerStateTransfer
from motivation.weight_maps.verify import Verdict, verify
from motivation.weight_maps.weight_map import TensorPair, WeightMap
from motivation.weight_maps.zero_extension import zero_extension

__all__ = [
    'AutoMap',
    'DepthMap',
    'ExplicitMap',
    'OptimizerStateTransfer',
    'TensorPair',
    'Verdict',
    'WeightMap',
    'verify',
    'zero_extension',
]
