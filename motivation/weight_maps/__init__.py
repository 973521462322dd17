"""Which tensors of the motivated model are the base model."""

from motivation.weight_maps.depth_map import DepthMap
from motivation.weight_maps.weight_map import ModelName, TensorPair, WeightMap

__all__ = ['DepthMap', 'ModelName', 'TensorPair', 'WeightMap']
