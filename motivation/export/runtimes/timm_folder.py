"""Running a folder in the layout of timm's models, with timm alone where timm has the network."""

import json
from pathlib import Path

import numpy as np
import safetensors.torch
import timm
import torch


class Network:
    """A network of timm, as :mod:`motivation.export.runtimes` describes models."""

    takes_uint8 = False
    largest_batch = None

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network.eval()

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of normalised images (N, C, H, W)."""
        return self.network(torch.from_numpy(np.ascontiguousarray(inputs))).float().numpy()


def _check_types(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    known = network.state_dict()
    for name, tensor in weights.items():
        if name in known and tensor.dtype != known[name].dtype:  # torch would convert it in silence
            raise ValueError(f'{name} is {tensor.dtype} instead of {known[name].dtype}')


def load(path: str | Path) -> Network:
    """Load a folder, or the folder of a ``model.safetensors``.

    Raises:
        ValueError: The folder is damaged, or of a network that needs a package which is not installed.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    settings, weights = folder / 'config.json', folder / 'model.safetensors'
    try:
        read = settings
        architecture = json.loads(settings.read_bytes())['architecture']
        is_of_timm = timm.is_model(architecture)
        read = weights
        tensors = safetensors.torch.load_file(weights)
    except Exception as error:  # damaged files raise errors of many types
        raise ValueError(f"'{read}' is damaged ({_reason(error)}); export the model again") from error
    try:
        if is_of_timm:
            network = timm.create_model(f'local-dir:{folder}', pretrained=True)
            _check_types(network, tensors)
            return Network(network)
    except Exception as error:  # of many types too
        raise ValueError(
            f"'{weights}' is of another model than '{settings}' describes ({_reason(error)}); export the model again"
        ) from error
    try:
        # Imported here because only networks that timm lacks need it: CIFAR ResNets and adapted stems.
        from motivation.models.exported_file import load_exported
    except ImportError as error:
        raise ValueError(
            f"'{folder}' holds a network that timm does not have ({architecture}); install motivation, or use another format"
        ) from error
    return Network(load_exported(folder))


def _reason(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())[:200]}'
