"""The method: which of two models trains on the next batch, and the transfer of weights when that changes.

::

    active = base
    for batch i:
        loss = active.train_step(batch)             # the inactive model does not run, step or decay
        motivated = policy.update(loss)             # decides for the next batch
        if motivated and active is base:            # activate
            weight_map.transfer(base -> motivated); active = motivated
        elif not motivated and active is motivated: # deactivate
            weight_map.transfer(motivated -> base); active = base

Source: "Motivation is Something You Need", arXiv 2602.21064.
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from motivation.errors import ConfigError
from motivation.policies import SwitchPolicy
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import checked
from motivation.weight_maps import OptimizerStateTransfer, WeightMap


class Motivation:
    """Two models of which one trains at a time, and the policy that decides which.

    It is independent of the training loop: train :attr:`model` and pass the loss of every batch to :meth:`observe`.

    Args:
        base: The base model.
        motivated: The motivated model, which contains the base model.
        weight_map: The correspondence of their tensors.
        policy: Decides after every batch which model trains on the next one.
        statistics: Running statistics of normalisation layers: ``'private'`` to each model (default), or
            ``'shared'`` through the map (as in the paper; each model then corrupts the other's).
        inherits_statistics: Whether the base model's running statistics are transferred, too, until the motivated
            model is first activated, as after :func:`~motivation.weight_maps.zero_extension`. Default: ``False``.
        optimizers: Both optimizers, whose state of mapped parameters (momentum, moments) is then transferred with
            the weights; ``None`` (default) keeps it separate.

    Attributes:
        active: Name of the model that trains on the next batch, ``'base'`` at first.
        policy: The policy.
        was_woken: Whether the motivated model was ever active.

    Raises:
        ValueError: An argument is invalid, or ``weight_map`` belongs to other models.

    Example:
        >>> method = Motivation(base, motivated, AutoMap(base, motivated), ConsecutiveDrop(drops=2))
        >>> for images, labels in loader:
        ...     loss = cross_entropy(method.model(images), labels)
        ...     loss.backward()
        ...     optimizers[method.active].step()
        ...     optimizers[method.active].zero_grad()
        ...     method.observe(loss.item())
    """

    @checked
    def __init__(
        self,
        base: nn.Module,
        motivated: nn.Module,
        weight_map: WeightMap,
        policy: SwitchPolicy,
        statistics: Literal['private', 'shared'] = 'private',
        inherits_statistics: bool = False,
        optimizers: Mapping[ModelName, Optimizer] | None = None,
    ) -> None:
        if optimizers is not None and set(optimizers) != set(MODEL_NAMES):
            raise ConfigError(f"optimizers must be of 'base' and of 'motivated', got {sorted(optimizers)}")
        self.models: dict[ModelName, nn.Module] = {'base': base, 'motivated': motivated}
        for name, model in self.models.items():
            if not {*weight_map.model(name).parameters()} <= {*model.parameters()}:
                raise ConfigError(f'weight_map must be of the models given, got that of another {name} model')
        self.weight_map = weight_map
        self.policy = policy
        self.active: ModelName = 'base'
        self.was_woken = False
        self._shares = statistics == 'shared'
        self._inherits = inherits_statistics
        self._optimizers = optimizers
        self._optimizer_state = OptimizerStateTransfer(weight_map)

    @property
    def model(self) -> nn.Module:
        """The active model."""
        return self.models[self.active]

    def observe(self, loss: float, **signals: Any) -> bool:
        """Update the policy after a batch, and switch the active model if it decides so.

        Args:
            loss: Mean training loss of the batch over all processes.
            **signals: The other signals that the policy needs, see :attr:`SwitchPolicy.signals`.

        Returns:
            Whether the motivated model trains on the next batch.

        Raises:
            ConfigError: A signal is missing, or the policy returned ``None``.
        """
        missing = sorted(self.policy.signals - signals.keys())
        if missing:
            raise ConfigError(f'{self.policy!r} needs {", ".join(missing)}: observe(loss, {missing[0]}=...)')
        decision = self.policy.update(float(loss), **signals)
        if decision not in (True, False):
            raise ConfigError(f'{type(self.policy).__name__}.update must return True or False, got {decision!r}')
        (self.activate if decision else self.deactivate)()
        return bool(decision)

    def activate(self) -> None:
        """Activate the motivated model: transfer base -> motivated. Does nothing if it is active."""
        if self.active == 'base':
            self._switch('motivated')
            self.was_woken = True

    def deactivate(self) -> None:
        """Deactivate the motivated model: transfer motivated -> base. Does nothing if it is not active."""
        if self.active == 'motivated':
            self._switch('base')

    def _switch(self, to: ModelName) -> None:
        self.transfer()
        if self._optimizers is not None:
            self._optimizer_state.transfer(self.active, self._optimizers)
        self.active = to

    def transfer(self) -> None:
        """Copy the mapped tensors of the active model to the other; the next switch overwrites the same tensors."""
        self.weight_map.transfer(self.active, statistics=self.transfers_statistics)

    @property
    def transfers_statistics(self) -> bool:
        """Whether running statistics are transferred now: always if they are shared, or until the first activation."""
        return self._shares or (self._inherits and not self.was_woken)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs besides models and optimizers, as plain Python values."""
        return {'active': self.active, 'was_woken': self.was_woken, 'policy': self.policy.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        self.active, self.was_woken = state_dict['active'], state_dict['was_woken']
        self.policy.load_state_dict(state_dict['policy'])
