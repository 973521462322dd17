"""The format ``onnx_int8``: an ONNX graph with 8-bit weights and activations."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from motivation.errors import ConfigError, reason
from motivation.export.deployable import Deployable
from motivation.export.exporter import Exporter
from motivation.export.onnx_graph import OnnxGraph, build_model, write_model
from motivation.registry import EXPORTERS
from motivation.utils.quiet import quiet_libraries


@EXPORTERS.register_module(name='onnx_int8')
class OnnxInt8(Exporter):
    """Writes a model as an ONNX file that computes in 8 bits, by ONNX Runtime's static quantisation.

    Weights are signed and symmetric, with a scale for each output channel. They use 7 of their 8 bits: processors
    without VNNI add products of 8 bits pairwise in 16, which overflow. Activations are unsigned; their ranges are the
    smallest and largest values over the calibration images. Input and output are those of
    :class:`~motivation.export.onnx_graph.OnnxGraph`.
    """

    file = 'model_int8.onnx'
    packages = OnnxGraph.packages
    runtime = OnnxGraph.runtime
    tolerance: ClassVar[float | None] = None

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        import onnx  # optional, and needed only here

        model = build_model(deployable, images)
        with tempfile.TemporaryDirectory(prefix='onnx_int8') as folder:
            try:
                quantised = _quantise(model, deployable, images, Path(folder))
            except Exception as error:  # onnxruntime raises errors of any type
                raise ConfigError(
                    f"ONNX Runtime cannot quantise the model: {reason(error)}; export it as 'onnx', in float"
                ) from error
            result = onnx.load(quantised)
        used = {node.domain for node in result.graph.node}
        for unused in [entry for entry in result.opset_import if entry.domain not in used]:
            result.opset_import.remove(unused)  # all that ONNX Runtime knows, at which other runtimes stop
        for name in ('producer_name', 'doc_string'):
            setattr(result, name, getattr(model, name))
        del result.metadata_props[:]  # ONNX Runtime says how it came about
        result.metadata_props.extend(model.metadata_props)
        write_model(result, path)


def _quantise(model: Any, deployable: Deployable, images: Tensor, folder: Path) -> Path:
    """Quantise an ONNX model, and return the file of the result, which is in ``folder``."""
    # Optional and slow.
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    written, prepared, quantised = (folder / f'{name}.onnx' for name in ('model', 'prepared', 'quantised'))
    write_model(model, written)
    with quiet_libraries():  # it advises what has been done, or was measured not to help
        # From a file: of a model in memory it looks for the weights beside it.
        quant_pre_process(str(written), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantised),
            _Reader(model.graph.input[0].name, deployable, images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,  # the others keep the activations of all images in memory
        )
    return quantised


class _Reader:
    """Gives the calibration images to ONNX Runtime, a batch at a time."""

    def __init__(self, name: str, deployable: Deployable, images: Tensor, batch_size: int = 16) -> None:
        self._batches = ({name: deployable.inputs(batch).numpy()} for batch in images.split(batch_size))

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)
