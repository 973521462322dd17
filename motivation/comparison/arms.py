"""The arms of a comparison: what each changes in the config that they share."""

import ast
import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.engine.config import load_config
from motivation.engine.schedule import scale_epochs
from motivation.errors import ConfigError, near_matches
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import POLICIES

# Short names of the policies that a comparison is usually made of.
ALIASES = {
    'never': 'Never',
    'always': 'Always',
    'consecutive': 'ConsecutiveDrop',
    'random': 'RandomGate',
    'matched': 'MatchedRandom',
    'replay': 'Replay',
}
_OTHERS = ('config', 'distillation')

# Controls that are made from the runs of another arm, and the field they take from it.
_FROM_ANOTHER = {'RandomGate': 'rate', 'MatchedRandom': 'run', 'Replay': 'run'}


@dataclass(frozen=True)
class Arm:
    """One arm: a policy, another config, or knowledge distillation.

    Attributes:
        label: As the user wrote it.
        kind: ``'config'`` (the config as it is), ``'distillation'``, a policy's type, or the path of
            another config.
        options: Fields of the policy, or of the distillation.
        config_options: Other fields of the config, by dotted name.
        max_epochs: Epochs, where they differ from the other arms'.
        reference: Label of the arm from whose run of the same seed this one is made.
    """

    label: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    config_options: dict[str, Any] = field(default_factory=dict)
    max_epochs: int | None = None
    reference: str | None = None

    @property
    def folder(self) -> str:
        """A name for the folder of its runs."""
        return re.sub(r'[^\w.=,-]+', '_', self.label).strip('_')

    @property
    def trains(self) -> tuple[str, ...]:
        """The models it trains from beginning to end, or by turns."""
        return {'Never': ('base',), 'distillation': ('base',), 'Always': ('motivated',)}.get(
            self.kind, ('base', 'motivated')
        )


def plan_arms(texts: Sequence[str]) -> list[Arm]:
    """Read the arms of a command line and settle which is made from which.

    Args:
        texts: ``NAME`` or ``NAME:KEY=VALUE,...`` each; see ``docs/comparing.md``.

    Raises:
        ConfigError: A name is unknown, an arm is given twice, or the arm that one is made from is
            missing.
    """
    arms = [_parse_arm(text) for text in texts]
    labels = [arm.label for arm in arms]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f'--arms has {label!r} twice; give each arm once')
    folders = [arm.folder for arm in arms]
    for arm in arms:
        if folders.count(arm.folder) > 1:
            raise ConfigError(f'--arms has two arms whose folder would be {arm.folder!r}; write one of them otherwise')
    return [_settle_reference(arm, arms) for arm in arms]


def _parse_arm(text: str) -> Arm:
    name, _, rest = text.partition(':')
    options: dict[str, Any] = {}
    for part in re.split(r',(?=[\w.]+=)', rest) if rest else []:
        key, equals, value = part.partition('=')
        if not equals or not key:
            raise ConfigError(
                f'--arms {text!r} is not of the form NAME:KEY=VALUE,...; write such as consecutive:drops=3'
            )
        options[key] = _value(value)
    if name.endswith('.py'):
        kind = name
        if any('.' not in key and key != 'max_epochs' for key in options):
            raise ConfigError(
                f'--arms {text!r}: another config takes dotted fields only, such as motivation.policy.drops=3'
            )
    else:
        kind = ALIASES.get(name, name)
        if kind not in _OTHERS and POLICIES.get(kind) is None:
            known = {*ALIASES, *_OTHERS, *POLICIES.module_dict}
            raise ConfigError(f'--arms {text!r} names no arm and no registered policy; {near_matches(name, known)}')
    return Arm(
        label=text,
        kind=kind,
        options={key: value for key, value in options.items() if '.' not in key and key not in ('max_epochs', 'arm')},
        config_options={key: value for key, value in options.items() if '.' in key},
        max_epochs=options.get('max_epochs'),
        reference=options.get('arm'),
    )


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _settle_reference(arm: Arm, arms: list[Arm]) -> Arm:
    """Find the arm that a control or a distillation is made from."""
    labels = {other.label: other for other in arms if other is not arm}
    if arm.kind == 'distillation':
        if 'teacher' in arm.options:
            return arm
        reference = arm.reference or next((other.label for other in arms if other.kind == 'Always'), None)
        if reference not in labels:
            raise ConfigError(
                f"--arms {arm.label!r} learns from the motivated model of an arm 'always'; add that arm, or give "
                'distillation:teacher=PATH of a motivated.pth'
            )
        return _with(arm, reference=reference)
    taken = _FROM_ANOTHER.get(arm.kind)
    if taken is None or taken in arm.options:
        if arm.reference is not None:
            raise ConfigError(
                f'--arms {arm.label!r} gives arm={arm.reference}, but is not made from another arm; leave it out'
            )
        return arm
    conditions = [
        other.label for other in arms if other.kind not in ('Never', 'Always', 'distillation', *_FROM_ANOTHER)
    ]
    reference = arm.reference or next(iter(conditions), None)
    if reference is None:
        raise ConfigError(
            f'--arms {arm.label!r} is made from the runs of another arm, and there is none; add such as consecutive, or '
            f'give {taken} itself'
        )
    if reference not in labels:
        raise ConfigError(
            f'--arms {arm.label!r} is made from {reference!r}, which is no arm; {near_matches(reference, labels)}'
        )
    return _with(arm, reference=reference)


def _with(arm: Arm, **changes: Any) -> Arm:
    return Arm(**{**arm.__dict__, **changes})


def configure(arm: Arm, config: Config, seed: int, reference: Path | None, epochs: int | None = None) -> Config:
    """The config of one run of an arm.

    Args:
        arm: The arm.
        config: What the arms share; left as it is.
        seed: Seed of the run.
        reference: The work_dir of the run it is made from.
        epochs: Epochs of every arm that does not give its own; ``None`` for the config's.

    Raises:
        ConfigError: An option does not apply.
    """
    if arm.kind.endswith('.py'):
        config = load_config(arm.kind)
    config = copy.deepcopy(config)
    config.setdefault('randomness', {})
    config.randomness.seed = seed
    options = {**arm.options, **_taken_from(arm, reference)}
    if arm.kind == 'distillation':
        _distil(config, options)
    elif arm.kind == 'config':
        config.motivation.policy.update(options)
    elif not arm.kind.endswith('.py'):
        config.motivation = dict(policy=dict(type=arm.kind, **options))
    if arm.trains != ('base', 'motivated') and config.get('val_cfg') is not None:
        config.val_cfg.models = list(arm.trains)
    own = epochs if arm.max_epochs is None else arm.max_epochs
    if own is not None:
        scale_epochs(config, own)
    if arm.config_options:
        config.merge_from_dict(arm.config_options)
    return config


def _taken_from(arm: Arm, reference: Path | None) -> dict[str, Any]:
    if reference is None:
        return {}
    if arm.kind == 'distillation':
        return {'teacher': str(reference / 'motivated.pth')}
    if arm.kind == 'RandomGate':
        motivated = SwitchTrace.load(reference).motivated
        return {'rate': motivated.count(1) / max(len(motivated) - 1, 1)}  # the first batch is not drawn
    return {'run': str(reference)}


def _distil(config: Config, options: dict[str, Any]) -> None:
    """Train the base alone, with a teacher."""
    kind = config.model.base.get('type')
    if kind != 'TimmClassifier':
        raise ConfigError(f"the arm 'distillation' needs model.base to be a TimmClassifier, not {kind!r}; leave it out")
    config.model.base.update(type='DistilledClassifier', **options)
    config.motivation = dict(policy=dict(type='Never'))
