"""Exporting models to files, in formats that run without this framework."""

from motivation.export import onnx_graph  # noqa: F401, registers the format
