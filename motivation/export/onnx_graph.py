"""The format ``onnx``: an ONNX graph."""

import json
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from motivation.errors import ConfigError, reason
from motivation.export.deployable import Deployable
from motivation.export.exporter import RUNTIMES, Exporter
from motivation.registry import EXPORTERS
from motivation.utils.files import write_whole
from motivation.utils.quiet import quiet_libraries

OPSET = 18
# A protobuf message, and so a model in one file, has less than 2 GiB.
LARGEST_FILE = 2**31 - 1


@EXPORTERS.register_module(name='onnx')
class OnnxGraph(Exporter):
    """Writes a model as one ONNX file of opset 18, for ONNX Runtime and what else reads ONNX.

    The file has one input, ``images`` (uint8) or ``normalised_images`` (float32), of shape (N, C, H, W), and one
    output, ``logits`` (N, K), for any N. Its metadata say what the input is, and what is known of
    :attr:`~motivation.export.deployable.Deployable.metainfo`, each entry as JSON.
    """

    file = 'model.onnx'
    packages: ClassVar[dict[str, str]] = {name: name for name in ('onnx', 'onnxscript', 'onnxruntime')}
    runtime = RUNTIMES / 'onnx_graph.py'
    loading = """\
import onnxruntime

session = onnxruntime.InferenceSession('{file}')
(logits,) = session.run(None, {session.get_inputs()[0].name: images})  # numpy arrays
"""
    int8 = 'onnx_int8'

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        write_model(build_model(deployable, images), path)


def build_model(deployable: Deployable, images: Tensor) -> Any:
    """Translate a model to ONNX.

    Args:
        deployable: The model.
        images: At least one image, (N, C, H, W), uint8 or float from 0 to 1: an example of the input.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ConfigError: The model is too large for one file, or has an operation that is not translated.
    """
    network = deployable.network()
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if weights > LARGEST_FILE:
        raise ConfigError(
            f"the model has {weights / 2**30:.1f} GiB of weights, and an ONNX file holds less than 2; export it as 'torch'"
        )
    example = images[:2] if len(images) > 1 else torch.cat([images, images])  # a batch of 1 would be fixed at 1
    with quiet_libraries():
        try:
            program = torch.onnx.export(
                network,
                (deployable.inputs(example),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim('batch')},),
                input_names=['images' if deployable.raw_input else 'normalised_images'],
                output_names=['logits'],
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as error:  # every step of the export has errors of its own
            raise ConfigError(
                f"the model cannot be translated to ONNX: {reason(_cause(error))}; export it as 'torch', or replace the "
                'operation in the network'
            ) from error
    assert program is not None
    model = program.model_proto
    _clear_trace(model)
    _describe(model, deployable)
    return model


def write_model(model: Any, path: Path) -> None:
    """Check an ONNX model with the checker of onnx, and write it to one file.

    Args:
        model: An ``onnx.ModelProto``.
        path: Path of the file.

    Raises:
        ConfigError: The checker refuses the model.
        OSError: The file cannot be written.
    """
    import onnx  # optional, and needed only here

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConfigError(
            f"the ONNX model of '{path}' is invalid: {reason(error)}; export it as 'torch', or report it with the config"
        ) from error
    content = model.SerializeToString(deterministic=True)
    write_whole(path, lambda file: file.write(content))


def _describe(model: Any, deployable: Deployable) -> None:
    """Say in the metadata of an ONNX model what its input is, and what the logits are."""
    takes = 'uint8 images, 0 to 255' if deployable.raw_input else 'images (pixels / 255 - mean) / std, float32'
    model.producer_name = 'motivation'
    model.doc_string = f'An image classifier: {takes}, of shape (N, C, H, W), to logits (N, K).'
    known = {name: value for name, value in deployable.metainfo.items() if value is not None}
    for key, value in {'input': takes, **known}.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=key, value=text)


def _clear_trace(model: Any) -> None:
    """Remove where in the Python code each part of a graph comes from, which can be a quarter of the file."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField('doc_string')


def _cause(error: Exception) -> Exception:
    """Return what made an export fail: torch adds advice for developers before it."""
    cause = error.__cause__
    return cause if isinstance(cause, Exception) else error
