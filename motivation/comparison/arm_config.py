"""The config of one run of an arm."""

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.comparison.arms import Arm, apply_own_options, set_policy_fields
from motivation.config.read import load_config
from motivation.config.schedule import scale_epochs
from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace


def configure(
    arm: Arm,
    config: Config,
    seed: int,
    reference: Path | None,
    epochs: int | None = None,
    options: dict[str, Any] | None = None,
) -> Config:
    """Return the config of one run of an arm.

    Args:
        arm: The arm.
        config: Config that the arms share; it is not modified.
        seed: Seed of the run.
        reference: The work_dir of the run that this one is derived from; ``None`` if that does not exist yet,
            which gives a config that can be checked but not run.
        epochs: Number of epochs unless the arm has its own; ``None`` (default) for that of the config.
        options: Values by dotted field name, which override fields of an arm's own config file.

    Raises:
        ArgumentError: An option does not apply to the config, or ``epochs`` is invalid.
    """
    if arm.source.endswith('.py'):
        config = load_config(arm.source, options)
    config = copy.deepcopy(config)
    config.setdefault('randomness', {})
    config.randomness.seed = seed
    fields = {**arm.options, **_taken_from(arm, reference)}
    if arm.source == 'distillation':
        _distil(config, fields)
    elif arm.source == 'config':
        set_policy_fields(arm, config)
    elif not arm.source.endswith('.py'):
        config.motivation = dict(policy=dict(type=arm.policy, **fields))
    config.pop('comparison', None)
    if arm.trains != ('base', 'motivated'):
        if config.get('val_cfg') is not None:
            config.val_cfg.models = list(arm.trains)
        if arm.source in ('Never', 'Always', 'distillation'):
            config.model.pop('distillation', None)  # or the base model would train beside the motivated one
    length = _own_epochs(arm, epochs or config.train_cfg.max_epochs) or epochs
    if length is not None:
        scale_epochs(config, length)
    config = apply_own_options(arm, config)
    if arm.config_options.get('model.distillation.weight') == 0:
        config.model.pop('distillation')  # or the base model would still take a step on each motivated batch
    return config


def _own_epochs(arm: Arm, others: int) -> int | None:
    """Return an arm's own number of epochs, or ``None`` if it has none; ``others`` is that of the other arms."""
    if isinstance(arm.max_epochs, str):
        return max(round(others * float(arm.max_epochs.removesuffix('%')) / 100), 1)
    return arm.max_epochs


def _taken_from(arm: Arm, reference: Path | None) -> dict[str, Any]:
    """Return the policy or distillation field that is taken from the run that an arm is derived from."""
    if arm.reference is None:
        return {}
    if arm.source == 'distillation':
        return {'teacher': str((reference or Path()) / 'motivated.pth')}
    if arm.source != 'RandomGate':
        return {'run': str(reference)}
    if reference is None:
        return {'rate': 0.0}
    motivated = SwitchTrace.load(reference).motivated
    return {'rate': motivated.count(1) / max(len(motivated) - 1, 1)}  # the first batch is always the base model's


def _distil(config: Config, options: dict[str, Any]) -> None:
    """Change a config in place so that it trains the base model alone, with a teacher."""
    kind = config.model.base.get('type')
    if kind != 'TimmClassifier':
        raise ConfigError(
            f"the arm 'distillation' needs model.base to be a TimmClassifier, not {kind!r}; leave the arm out"
        )
    config.model.base.update(type='DistilledClassifier', **options)
    config.motivation = dict(policy=dict(type='Never'))
