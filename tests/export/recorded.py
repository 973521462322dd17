"""A format of tests: the logits of known images, and faults of the program that returns them."""

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from motivation.export.exporter import Exporter
from motivation.registry import EXPORTERS

RUNTIME = Path(__file__).parent / 'recorded_runtime.py'


def write_recorded(path, images, logits, fault='', most=0):
    """Write a file that returns the logits of images, or has a fault."""
    keys = [hashlib.sha1(image.tobytes()).hexdigest() for image in images]
    takes_uint8 = images.dtype == np.uint8
    with path.open('wb') as file:
        np.savez(file, keys=keys, logits=logits, fault=fault, most=most, takes_uint8=takes_uint8)


@EXPORTERS.register_module(name='recorded', force=True)
class Recorded(Exporter):
    """Writes the logits of ``known`` images; ``change`` is what they are changed to."""

    file = 'model.npz'
    runtime = RUNTIME
    int8 = 'recorded_int8'

    known: ClassVar[torch.Tensor]
    change = staticmethod(lambda logits: logits)
    fault = ''

    @torch.no_grad()
    def export(self, deployable, images, path):
        inputs = deployable.inputs(Recorded.known)
        logits = self.change(deployable.network()(inputs).numpy())
        write_recorded(path, inputs.numpy(), logits, self.fault, most=50)
        (path.parent / 'config.json').write_text('{}')


@EXPORTERS.register_module(name='recorded_int8', force=True)
class RecordedInt8(Recorded):
    """Writes logits that round to whole numbers."""

    file = 'model_int8.npz'
    tolerance = None
    int8 = None
    calibrated: ClassVar[list] = []
    change = staticmethod(np.round)

    def export(self, deployable, images, path):
        self.calibrated.append(images)
        super().export(deployable, images, path)


@EXPORTERS.register_module(name='absent', force=True)
class Absent(Recorded):
    """A format whose package lacks."""

    packages: ClassVar[dict[str, str]] = {'no_such_module': 'no-such-package'}
