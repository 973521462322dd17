"""The method: which of two models trains on the next batch, and the copy of weights when that changes.

::

    active = base
    for batch i:
        loss = active.train_step(batch)             # the other model does not run, step or decay
        motivated = policy.update(loss)             # decided after every batch, holds for the next
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
from motivation.structures import ModelName
from motivation.weight_maps import OptimizerStateTransfer, WeightMap


class Motivation:
    """Two models of which one trains at a time, and the policy that decides which.

    It knows nothing of how they are trained: give it the loss of every batch, and train :attr:`model`.

    Args:
        base: The base model.
        motivated: The motivated model, which contains the base model.
        weight_map: Which tensors of the motivated model are the base model's.
        policy: Decides after every batch which model trains on the next one.
        statistics: Running statistics of normalisation layers: ``'private'`` to each model, or
            ``'shared'`` through the map (the paper's letter; each model then spoils the other's).
        inherits_statistics: Whether the base's running statistics are the motivated model's, too, until
            it is first woken: right where it begins as the base model's function, see
            :func:`~motivation.weight_maps.zero_extension`.
        optimizers: Both optimizers, where momentum and moments of mapped parameters travel with the
            weights; by default each optimizer keeps its own.

    Attributes:
        active: The model being trained, ``'base'`` or ``'motivated'``; the first batch is the base's.
        policy: The policy.

    Raises:
        ConfigError: A :class:`ValueError`: ``statistics`` is neither, or ``weight_map`` is of other models.

    Example:
        >>> method = Motivation(base, motivated, AutoMap(base, motivated), ConsecutiveDrop(drops=2))
        >>> for images, labels in loader:
        ...     loss = cross_entropy(method.model(images), labels)
        ...     loss.backward()
        ...     optimizers[method.active].step()
        ...     optimizers[method.active].zero_grad()
        ...     method.observe(loss.item())
    """

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
        if statistics not in ('private', 'shared'):
            raise ConfigError(f"statistics must be 'private' or 'shared', got {statistics!r}")
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
        """Tell the policy of the batch just trained on; weights move if the other model trains on the next.

        Args:
            loss: Mean training loss of the batch; under several processes, over all of them.
            **signals: What the policy asks for beside the loss, see :attr:`SwitchPolicy.signals`.

        Returns:
            Whether the motivated model trains on the next batch.

        Raises:
            ConfigError: A signal is missing, or the policy answers neither True nor False.
        """
        missing = sorted(self.policy.signals - signals.keys())
        if missing:
            raise ConfigError(f'{self.policy!r} needs {", ".join(missing)}: observe(loss, {missing[0]}=...)')
        decision = self.policy.update(loss, **signals)
        if decision is None:
            raise ConfigError(f'{type(self.policy).__name__}.update must return True or False, got None')
        if decision:
            self.activate()
        else:
            self.deactivate()
        return bool(decision)

    def activate(self) -> None:
        """Begin a motivated spell: transfer base -> motivated; nothing if it is active already."""
        if self.active == 'base':
            self._switch('motivated')
            self.was_woken = True

    def deactivate(self) -> None:
        """End a motivated spell: transfer motivated -> base; nothing if the base is active already."""
        if self.active == 'motivated':
            self._switch('base')

    def _switch(self, to: ModelName) -> None:
        self.transfer()
        if self._optimizers is not None:
            self._optimizer_state.transfer(self.active, self._optimizers)
        self.active = to

    def transfer(self) -> None:
        """Make both models current: copy the mapped tensors of the active model into the other.

        The next switch overwrites the same tensors: training goes on as if this had not happened.
        """
        inherits = self._inherits and not self.was_woken
        self.weight_map.transfer(self.active, statistics=self._shares or inherits)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs beside both models' weights and optimizers, as plain data."""
        return {'active': self.active, 'was_woken': self.was_woken, 'policy': self.policy.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.active, self.was_woken = state_dict['active'], state_dict['was_woken']
        self.policy.load_state_dict(state_dict['policy'])
