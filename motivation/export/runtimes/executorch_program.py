"""Run an ExecuTorch program (``.pte``). Needs executorch, which brings torch and numpy."""

import contextlib
import io
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import torch

with warnings.catch_warnings():  # about its interface, which is experimental, and about versions of torch
    warnings.simplefilter('ignore')
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    from executorch.runtime import Runtime

    logging.disable(disabled)

_UINT8, _FLOAT32 = 0, 6  # of ExecuTorch's ScalarType, in that order those of torch


class Program:
    """A loaded program.

    Legend: N images, C channels, H x W pixels, K classes.

    Args:
        path: Path of the file.

    Attributes:
        takes_uint8: Whether inputs are uint8 images, 0 to 255; else they are normalised float32.
        largest_batch: Largest N of one call of the program, 1. More images are given to it one after another.

    Raises:
        ValueError: The file is not a program, or not one of an image classifier. There is no checksum: a file with a few
            other bytes may give other logits, or end the process (1 of 80 in a trial), so try those in a process of
            their own.
    """

    takes_uint8: bool
    largest_batch: int

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not Path(path).is_file():
            raise ValueError(f"program '{path}' does not exist; give the path of a .pte file")
        # ExecuTorch writes about the CPU, and what is wrong with a file, to the standard error.
        with contextlib.redirect_stderr(io.StringIO()) as messages:
            try:
                self._program = Runtime.get().load_program(Path(path))  # keeps the memory of its methods
                method = self._program.load_method('forward')
            except (RuntimeError, KeyError) as error:
                said = ' '.join(messages.getvalue().split('\n')[-2:]).strip() or error
                raise ValueError(
                    f"'{path}' is not a program that ExecuTorch can run: {said}; export it again"
                ) from error
        inputs = method.metadata.input_tensor_meta(0) if method.metadata.num_inputs() == 1 else None
        if inputs is None or len(inputs.sizes()) != 4 or inputs.dtype() not in (_UINT8, _FLOAT32):
            raise ValueError(f"'{path}' is a program that does not take one tensor of images; export it again")
        self._method = method
        self._shape = tuple(inputs.sizes())
        self.takes_uint8 = inputs.dtype() == _UINT8
        self.largest_batch = self._shape[0]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Classify images.

        Args:
            inputs: (N, C, H, W), uint8 or normalised float32, as the program takes.

        Returns:
            Logits, float32 (N, K).

        Raises:
            ValueError: The images have another type or size.
        """
        dtype = 'uint8' if self.takes_uint8 else 'float32'
        if inputs.dtype != dtype or inputs.shape[1:] != self._shape[1:]:
            raise ValueError(
                f'images must be {dtype} of shape (N, {", ".join(map(str, self._shape[1:]))}), got {inputs.dtype} {inputs.shape}'
            )
        images = torch.from_numpy(np.ascontiguousarray(inputs))
        return torch.cat([self._method.execute([image])[0] for image in images.split(self.largest_batch)]).numpy()


load = Program
