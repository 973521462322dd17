"""Exporting models as programs of torch.export, ``.pt2``."""

from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from motivation.errors import ConfigError, reason
from motivation.export.deployable import Deployable
from motivation.export.exporter import RUNTIMES, Exporter
from motivation.registry import EXPORTERS
from motivation.utils.files import write_whole


@EXPORTERS.register_module(name='torch')
class TorchProgram(Exporter):
    """Writes a model as a program of :func:`torch.export.export` that takes batches of any size from 1.

    ``torch.export.load(path).module()`` is the model, in a process that has only torch. The type of the program's
    input, uint8 or float32, says whether it normalises its images itself.
    """

    file = 'model.pt2'
    runtime = RUNTIMES / 'torch_program.py'
    loading = """\
import torch

model = torch.export.load('{file}').module()
logits = model(images)  # tensors
"""

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        example = torch.zeros_like(deployable.inputs(images[:1])).repeat(2, 1, 1, 1)  # the file holds its example
        try:
            program = torch.export.export(
                deployable.network(), (example,), dynamic_shapes=({0: Dim('batch', min=1)},), strict=False
            )
        except Exception as error:  # torch raises errors of many types
            raise ConfigError(
                f"format 'torch' cannot be written: torch.export does not take this model ({reason(error)}); leave the "
                'format out, or change what it names in the code of the model'
            ) from error
        _forget_sources(program)
        content = BytesIO()  # torch ends the process where a disk that it writes to itself is full
        torch.export.save(program, content)
        write_whole(path, lambda file: file.write(content.getbuffer()))


def _forget_sources(program: ExportedProgram) -> None:
    """Remove the paths of source files on this machine, which torch would write into the file."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop('stack_trace', None)
