"""Exporting models to files, in formats that run without this framework."""

from motivation.export.executorch_int8 import ExecutorchInt8
from motivation.export.executorch_program import ExecutorchProgram
from motivation.export.onnx_graph import OnnxGraph
from motivation.export.onnx_int8 import OnnxInt8
from motivation.export.timm_folder import TimmFolder
from motivation.export.torch_program import TorchProgram

__all__ = ['ExecutorchInt8', 'ExecutorchProgram', 'OnnxGraph', 'OnnxInt8', 'TimmFolder', 'TorchProgram']
