"""Exporting models to files, in formats that run without this framework."""

from motivation.export import onnx_graph, onnx_int8  # noqa: F401, registers the formats
