"""Exporting models to files, in formats that run without this framework."""

from motivation.export.onnx_graph import OnnxGraph
from motivation.export.timm_folder import TimmFolder
from motivation.export.torch_program import TorchProgram

__all__ = ['OnnxGraph', 'TimmFolder', 'TorchProgram']
