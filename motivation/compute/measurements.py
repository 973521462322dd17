"""MACs of both models during a run, measured again when the samples or the frozen parameters change."""

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel

from motivation.compute.macs import Macs, ModelMacs, measure_inference, measure_model
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import first_sample, shapes_in


class Measurements:
    """Measures and caches the MACs of both models, by the shapes of the samples and the parameters that are frozen.

    Args:
        models: Both models, by name.
        distillation: Whether motivated batches include in-place distillation.
        batch_size: Samples per batch of one process.
    """

    def __init__(self, models: Mapping[ModelName, BaseModel], distillation: bool, batch_size: int) -> None:
        self._models = models
        self._distillation = distillation
        self._batch_size = batch_size
        self._parameters = [parameter for name in MODEL_NAMES for parameter in models[name].parameters()]
        self._training: dict[Any, dict[ModelName, ModelMacs]] = {}
        self._inference: dict[Any, Macs] = {}

    def training(self, batch: Mapping[str, Any]) -> dict[ModelName, ModelMacs]:
        """Return the MACs of both models on samples like those of a batch.

        Args:
            batch: A batch as the data loader returns it.

        Raises:
            ConfigError: See :func:`~motivation.compute.macs.measure_model`.
        """
        shapes = shapes_in(batch)
        key = shapes, tuple(parameter.requires_grad for parameter in self._parameters)
        if key not in self._training:
            sample = first_sample(batch)
            self._training[key] = {
                name: measure_model(self._models[name], sample, self._distillation, self._batch_size)
                for name in MODEL_NAMES
            }
            for name in MODEL_NAMES:
                self._inference[name, shapes] = self._training[key][name].inference
        return self._training[key]

    def inference(self, model: ModelName, batch: Mapping[str, Any]) -> Macs:
        """Return the MACs of one model's forward pass in evaluation mode; errors are those of :meth:`training`."""
        key = model, shapes_in(batch)
        if key not in self._inference:
            self._inference[key] = measure_inference(self._models[model], first_sample(batch))
        return self._inference[key]
