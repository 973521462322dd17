"""The arms of a comparison: how each differs from the shared config."""

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from motivation.config.read import apply_options, load_config
from motivation.config.schema import known_fields
from motivation.errors import ArgumentError, ConfigError, near_matches
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
# Fields that belong to the comparison.
_NOT_OF_AN_ARM = {
    **dict.fromkeys(('randomness', 'randomness.seed'), 'which is what the seeds are for'),
    'work_dir': 'which is the folder of each run',
    'resume': 'which follows from what is in the folder of each run',
    'comparison': 'which is no part of a run',
}
# Bytes of the name of a folder, so that a file system takes it with what is added to it.
_LONGEST = 200


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
        """Name of the folder of the arm's runs; of a long label, its beginning and a digest of it."""
        name = re.sub(r'[^\w.=,%-]+', '_', self.label).strip('_').encode()
        if len(name) <= _LONGEST:
            return name.decode()
        digest = hashlib.sha256(self.label.encode()).hexdigest()[:12]
        return f'{name[: _LONGEST - 13].decode(errors="ignore")}-{digest}'

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
    labels, folders = (Counter(names) for names in zip(*((arm.label, arm.folder) for arm in arms), strict=True))
    for arm in arms:
        if labels[arm.label] > 1:
            raise ArgumentError('arms', f'has {arm.label!r} twice; give each arm once')
        if folders[arm.folder] > 1:
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
        if any(not _is_of_config(key) and key != 'max_epochs' for key in fields):
            raise _refused(text, 'is another config, which takes dotted fields only, such as motivation.policy.drops=3')
        source = str(folder / name) if (folder / name).is_file() and not Path(name).is_file() else name
    elif source and POLICIES.get(source) is not None:
        policy = source
    elif name not in ('config', 'distillation'):
        known = {*ALIASES, 'config', 'distillation', *POLICIES.module_dict}
        raise _refused(text, f'is neither an arm nor a registered policy; {near_matches(name, known)}')
    for key in fields:
        why = _NOT_OF_AN_ARM.get('comparison' if key.startswith('comparison.') else key)
        if why and _is_of_config(key, name):
            raise _refused(text, f'sets {key}, {why}; leave it out')
    max_epochs = fields.pop('max_epochs', None)
    if max_epochs is not None and not _is_length(max_epochs):
        raise _refused(
            text, f"has max_epochs={max_epochs}, which must be a whole number of at least 1, or a share such as '150%'"
        )
    arm = Arm(
        label=text,
        source=source,
        options={key: value for key, value in fields.items() if not _is_of_config(key, name)},
        config_options={key: value for key, value in fields.items() if _is_of_config(key, name)},
        max_epochs=max_epochs,
        reference=reference,
    )
    if arm.source.endswith('.py'):
        policy = _policy_type(apply_own_options(arm, load_config(source, options)))
    elif name == 'config':
        own = {key: value for key, value in arm.config_options.items() if key.split('.')[0] == 'motivation'}
        shared = Config(dict(motivation=copy.deepcopy(config.get('motivation'))))
        policy = _policy_type(apply_own_options(replace(arm, config_options=own), set_policy_fields(arm, shared)))
    return replace(arm, policy=policy)


def _is_of_config(key: str, name: str = '.py') -> bool:
    """Return whether an arm's field is one of the config: dotted, or where the arm is a config, of the top level."""
    return '.' in key or ((name == 'config' or name.endswith('.py')) and key in known_fields())


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
    field_name = 'teacher' if arm.source == 'distillation' else _FROM_ANOTHER.get(arm.source)
    if field_name is None or field_name in arm.options:
        if arm.reference is not None:
            raise _refused(arm.label, f'gives arm={arm.reference}, but is not derived from another arm; leave it out')
        return arm
    others = {other.label: other for other in arms if other is not arm}
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


def set_policy_fields(arm: Arm, config: Config) -> Config:
    """Set the fields of the policy that an arm ``config`` names, in place, and return the config.

    A policy of another type keeps no field of the one before.
    """
    if arm.options:
        policy = config.motivation.policy
        if arm.options.get('type', policy.get('type')) != policy.get('type'):
            policy.clear()
        policy.update(arm.options)
    return config


def apply_own_options(arm: Arm, config: Config) -> Config:
    """Override the fields of a config that an arm names, in place, and return it.

    Raises:
        ArgumentError: A field does not apply.
    """
    try:
        apply_options(config, arm.label, copy.deepcopy(arm.config_options))  # MMEngine takes _delete_ out of them
    except ConfigError as error:
        raise _refused(arm.label, f'cannot be applied: {str(error).replace("--cfg-options ", "")}') from error
    return config
