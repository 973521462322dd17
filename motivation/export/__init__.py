"""Exporting models to files, in formats that run without this framework."""

from motivation.export.executorch_int8 import ExecutorchInt8Exporter
from motivation.export.executorch_program import ExecutorchExporter

__all__ = ['ExecutorchExporter', 'ExecutorchInt8Exporter']
