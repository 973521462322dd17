"""The arms of a comparison: how each differs from the shared config."""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.config.read import apply_options, load_config
from motivation.config.schedule import scale_epochs
from motivation.errors import ArgumentError, ConfigError, near_matches
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import POLICIES
from motivation.utils.named_fields import read_fields, split_name

# Short names of the policies that comparisons usually consist of.
ALIASES = {
    'never': 'Never',
    'always': 'Always',
    'consecutive': 'ConsecutiveDrop',
    'random': 'RandomGate',
    'matched': 'MatchedRandom',
    'replay': 'Replay',
}
# Controls that are derived from the runs of another arm, and the field that comes from it.
_FROM_ANOTHER = {'RandomGate': 'rate', 'MatchedRandom': 'run', 'Replay': 'run'}
_PERCENT = re.compile(r'(\d+(?:\.\d+)?)%')


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison: a policy, another config, or knowledge distillation.

    Attributes:
        label: The text that the user wrote.
        source: ``'config'`` (the policy of the config), ``'distillation'``, the type of a policy, or the path
            of another config.
        policy: Type of the policy; ``None`` for distillation.
        options: Fields of the policy, or of the distillation.
        config_options: Other fields of the config, by dotted name.
        max_epochs: Number of epochs, or a percentage of that of the other arms, such as ``'150%'``; ``None``
            (default) for that of the other arms.
        reference: Label of the arm that this one is derived from, seed by seed; ``None`` (default) if none.
    """

    label: str
    source: str
    policy: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    config_options: dict[str, Any] = field(default_factory=dict)
    max_epochs: int | str | None = None
    reference: str | None = None

    @property
    def folder(self) -> str:
        """Name of the folder of the arm's runs."""
        return re.sub(r'[^\w.=,%-]+', '_', self.label).strip('_')

    @property
    def trains(self) -> tuple[str, ...]:
        """Names of the models that the arm trains."""
        return {None: ('base',), 'Never': ('base',), 'Always': ('motivated',)}.get(self.policy, ('base', 'motivated'))

    @property
    def is_condition(self) -> bool:
        """Whether controls can be derived from the arm."""
        return self.policy not in (None, 'Never', 'Always', *_FROM_ANOTHER)


def plan_arms(
    texts: Sequence[str], config: Config, options: dict[str, Any] | None = None, folder: Path | None = None
) -> list[Arm]:
    """Parse the arms of a comparison and find the reference of each derived arm.

    Args:
        texts: ``NAME`` or ``NAME:KEY=VALUE,...`` for each arm; see ``docs/comparing.md``.
        config: Config that the arms share.
        options: Values by dotted field name, which also override fields of an arm's own config file.
        folder: Folder in which config files are looked for that the current folder does not have.

    Raises:
        ArgumentError: A name is unknown, an arm is given twice, or the arm that another is derived from is missing.
    """
    arms = [_parse_arm(text, texts, config, options, folder or Path()) for text in texts]
    labels, folders = [arm.label for arm in arms], [arm.folder for arm in arms]
    for arm in arms:
        if labels.count(arm.label) > 1:
            raise ArgumentError('arms', f'has {arm.label!r} twice; give each arm once')
        if folders.count(arm.folder) > 1:
            raise ArgumentError(
                'arms', f'has two arms whose folder would be {arm.folder!r}; write one of them differently'
            )
    return [_settle_reference(arm, arms) for arm in arms]


def _refused(label: str, problem: str) -> ArgumentError:
    return ArgumentError('arms', f'{label!r} {problem}')


def _parse_arm(text: str, texts: Sequence[str], config: Config, options: dict[str, Any] | None, folder: Path) -> Arm:
    name, rest = split_name(text)
    rest, reference = _split_reference(rest, texts)
    policy = None
    try:
        fields = read_fields(rest)
    except ValueError:
        raise _refused(text, 'is not of the form NAME:KEY=VALUE,...; write it like consecutive:drops=3') from None
    source = ALIASES.get(name, name)
    if name.endswith('.py'):
        if any('.' not in key and key != 'max_epochs' for key in fields):
            raise _refused(text, 'is another config, which takes dotted fields only, such as motivation.policy.drops=3')
        source = str(folder / name) if (folder / name).is_file() and not Path(name).is_file() else name
    elif name == 'config':
        policy = _policy_type(config)
    elif source and POLICIES.get(source) is not None:
        policy = source
    elif name != 'distillation':
        known = {*ALIASES, 'config', 'distillation', *POLICIES.module_dict}
        raise _refused(text, f'is neither an arm nor a registered policy; {near_matches(name, known)}')
    if 'randomness.seed' in fields:
        raise _refused(text, 'sets randomness.seed, which is what the seeds are for; leave it out')
    max_epochs = fields.pop('max_epochs', None)
    if max_epochs is not None and not _is_length(max_epochs):
        raise _refused(
            text, f"has max_epochs={max_epochs}, which must be a whole number of at least 1, or a share such as '150%'"
        )
    arm = Arm(
        label=text,
        source=source,
        options={key: value for key, value in fields.items() if '.' not in key},
        config_options={key: value for key, value in fields.items() if '.' in key},
        max_epochs=max_epochs,
        reference=reference,
    )
    if arm.source.endswith('.py'):
        policy = _policy_type(_apply_own_options(arm, load_config(source, options)))
    return replace(arm, policy=policy)


def _is_length(max_epochs: Any) -> bool:
    if isinstance(max_epochs, str):
        return _PERCENT.fullmatch(max_epochs) is not None and float(max_epochs.removesuffix('%')) > 0
    return isinstance(max_epochs, int) and not isinstance(max_epochs, bool) and max_epochs >= 1


def _split_reference(rest: str, texts: Sequence[str]) -> tuple[str, str | None]:
    """Split ``arm=LABEL`` off an arm's fields; known labels are tried first, because a label may contain commas."""
    match = re.search(r'(^|,)arm=', rest)
    if match is None:
        return rest, None
    before, after = rest[: match.start()], rest[match.end() :]
    known = [text for text in texts if after == text or after.startswith(f'{text},')]
    reference = max(known, key=len, default=after.split(',')[0])
    return ','.join(filter(None, (before, after[len(reference) + 1 :]))), reference


def _policy_type(config: Config) -> str:
    policy = (config.get('motivation') or {}).get('policy') or {}
    return str(policy.get('type'))


def _settle_reference(arm: Arm, arms: list[Arm]) -> Arm:
    """Return an arm with its reference: the arm that a control or a distillation is derived from."""
    others = {other.label: other for other in arms if other is not arm}
    field_name = 'teacher' if arm.source == 'distillation' else _FROM_ANOTHER.get(arm.source)
    if field_name is None or field_name in arm.options:
        if arm.reference is not None:
            raise _refused(arm.label, f'gives arm={arm.reference}, but is not derived from another arm; leave it out')
        return arm
    if arm.source == 'distillation':
        candidates = [label for label, other in others.items() if other.policy == 'Always']
        problem = "learns from the motivated model of an arm 'always', and there is none; add that arm"
    else:
        candidates = [label for label, other in others.items() if other.is_condition]
        problem = 'is derived from the runs of another arm, and there is none; add an arm such as consecutive'
    reference = arm.reference or next(iter(candidates), None)
    if reference is None:
        raise _refused(arm.label, f'{problem}, or give {field_name} itself')
    if reference not in others:
        raise _refused(
            arm.label, f'is derived from {reference!r}, which is not an arm; {near_matches(reference, others)}'
        )
    epochs = arm.max_epochs if arm.source == 'distillation' or arm.max_epochs else others[reference].max_epochs
    return replace(arm, reference=reference, max_epochs=epochs)


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
        config.motivation.policy.update(fields)
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
    return _apply_own_options(arm, config)


def _own_epochs(arm: Arm, others: int) -> int | None:
    """Return an arm's own number of epochs, or ``None`` if it has none; ``others`` is that of the other arms."""
    if isinstance(arm.max_epochs, str):
        return max(round(others * float(arm.max_epochs.removesuffix('%')) / 100), 1)
    return arm.max_epochs


def _apply_own_options(arm: Arm, config: Config) -> Config:
    """Override the fields of a config that an arm names, in place, and return it."""
    try:
        apply_options(config, arm.label, arm.config_options)
    except ConfigError as error:
        raise _refused(arm.label, f'cannot be applied: {str(error).replace("--cfg-options ", "")}') from error
    return config


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
