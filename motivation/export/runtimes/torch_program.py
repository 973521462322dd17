"""Running a ``.pt2`` file with torch alone."""

import logging
from pathlib import Path

import numpy as np
import torch


class Program:
    """A program of ``torch.export``, as :mod:`motivation.export.runtimes` describes models."""

    largest_batch = None

    def __init__(self, path: str | Path) -> None:
        program = torch.export.load(str(path))
        (name,) = program.graph_signature.user_inputs
        (images,) = (node for node in program.graph.nodes if node.name == name)
        self.takes_uint8 = images.meta['val'].dtype == torch.uint8
        self.module = program.module()

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of images (N, C, H, W)."""
        return self.module(torch.from_numpy(np.ascontiguousarray(inputs))).float().numpy()


def load(path: str | Path) -> Program:
    """Load a ``.pt2`` file. It can hold code that is run, as a pickle can: open only files that you trust.

    Raises:
        ValueError: The file is not a whole program of ``torch.export``.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # torch logs the traceback of an error as well as raising it
    try:
        return Program(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch raises errors of many types
        raise ValueError(f"'{path}' is damaged or not a program of torch.export; export the model again") from error
    finally:
        logging.disable(disabled)
