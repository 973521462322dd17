"""Writing models as ExecuTorch programs with weights and activations of 8 bits."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from motivation.errors import ConfigError, one_line
from motivation.export.deployable import Deployable
from motivation.export.executorch_program import capture, lower, write_program
from motivation.export.exporter import RUNTIMES, Exporter
from motivation.registry import EXPORTERS
from motivation.utils.quiet import quiet_libraries


@EXPORTERS.register_module(name='executorch_int8')
class ExecutorchInt8(Exporter):
    """Writes a ``.pte`` file whose convolutions and linear layers are computed in int8.

    Post-training quantisation with PT2E and ExecuTorch's ``XNNPACKQuantizer``: symmetric, a scale for each output
    channel of weights and one for each tensor of activations, from the ranges that the calibration images give.
    Inputs and logits remain as in the float program.
    """

    file = 'model_int8.pte'
    packages: ClassVar[dict[str, str]] = {'executorch': 'executorch', 'torchao': 'torchao'}
    runtime = RUNTIMES / 'executorch_program.py'
    largest_batch = 1
    tolerance = None

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        """Write a model, calibrated on all images; see :meth:`Exporter.export`."""
        inputs = deployable.inputs(images)
        with quiet_libraries():
            # Optional, and take seconds to import.
            from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
            from torchao.quantization.pt2e import quantize_pt2e

            captured = capture(deployable.network(), inputs[:1]).module()
            config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
            quantizer = xnnpack_quantizer.XNNPACKQuantizer().set_global(config)
            try:
                prepared = quantize_pt2e.prepare_pt2e(captured, quantizer)
                with torch.no_grad():
                    for image in inputs.split(1):
                        prepared(image)
                quantised = quantize_pt2e.convert_pt2e(prepared)
            except Exception as error:  # raised by torchao, of any type
                raise ConfigError(
                    f'the model cannot be quantised: {one_line(str(error), 300)}; export it in float, or as onnx'
                ) from error
            edge = lower(capture(quantised, inputs[:1]))
        write_program(edge, path)
