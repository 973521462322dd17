"""Running an ONNX model with ONNX Runtime: ``pip install onnxruntime``."""

import textwrap
from pathlib import Path

import numpy as np
import onnxruntime

_INPUTS = {'tensor(uint8)': np.uint8, 'tensor(float)': np.float32}
_FATAL = 4  # what goes wrong is raised, not logged as well


class Model:
    """An image classifier in an ONNX file, run in one thread on the CPU.

    Attributes:
        takes_uint8: Whether inputs are uint8 images, 0 to 255; else they are normalised float32.
        largest_batch: Largest N that one call takes; ``None`` for any.
    """

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        (images,) = session.get_inputs()
        batch, *self._size = images.shape
        self._session = session
        self._name = images.name
        self._dtype = _INPUTS[images.type]
        self.takes_uint8 = self._dtype is np.uint8
        self.largest_batch = batch if isinstance(batch, int) else None

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the logits (N, K), float32, of inputs (N, C, H, W).

        Raises:
            ValueError: The inputs are of another type or size than the graph takes.
        """
        fixed = [
            (taken, size) for taken, size in zip(self._size, inputs.shape[1:], strict=False) if isinstance(taken, int)
        ]
        if inputs.dtype != self._dtype or inputs.ndim != 4 or any(taken != size for taken, size in fixed):
            raise ValueError(
                f'inputs must be {np.dtype(self._dtype)} of shape (N, {", ".join(map(str, self._size))}), got '
                f'{inputs.dtype} of shape {inputs.shape}; is this the model that belongs to these images?'
            )
        (logits,) = self._session.run(None, {self._name: np.ascontiguousarray(inputs)})
        return logits


def load(path: str | Path) -> Model:
    """Load an image classifier from an ONNX file.

    Raises:
        ValueError: The file is missing, damaged, or not an ONNX model of one batch of images to logits.
    """
    if not Path(path).is_file():
        raise ValueError(f"ONNX model '{path}' does not exist; give the path of a .onnx file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # errors of onnxruntime have no common class
        message = textwrap.shorten(str(error), 200, placeholder=' ...')
        raise ValueError(
            f"'{path}' is not an ONNX model that ONNX Runtime {onnxruntime.__version__} runs ({message}); export it again"
        ) from error
    problem = _problem(session.get_inputs(), session.get_outputs())
    if problem:
        raise ValueError(f"'{path}' is not a model of images: {problem}; give an ONNX file of this framework")
    return Model(session)


def _problem(inputs: list, outputs: list) -> str | None:
    """Return what keeps a graph from being an image classifier, or ``None``."""
    if len(inputs) != 1 or len(outputs) != 1:
        return f'it has {len(inputs)} inputs and {len(outputs)} outputs, not one of each'
    (images,), (logits,) = inputs, outputs
    if images.type not in _INPUTS or len(images.shape) != 4:
        return f'its input is a {images.type} of shape {images.shape}, not uint8 or float of shape (N, C, H, W)'
    if logits.type != 'tensor(float)' or len(logits.shape) != 2:
        return f'its output is a {logits.type} of shape {logits.shape}, not float of shape (N, K)'
    if isinstance(images.shape[0], int) and images.shape[0] != 1:
        return f'its batch is fixed at {images.shape[0]}, neither free nor 1'
    return None
