"""A mutated config trains or raises one sentence, without a traceback or a hang.

``MOTIVATION_FUZZ_EXAMPLES=2000 pytest tests/config/test_fuzz.py`` tries more.
"""

import contextlib
import copy
import io
import math
import os
import re
import resource
import signal
import tempfile
import warnings
from collections import Counter
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from motivation.cli import prepare_training
from motivation.config.read import load_config
from motivation.errors import ConfigError
from motivation.registry import RUNNERS
from tests.conftest import DIGITS

EXAMPLES = int(os.environ.get('MOTIVATION_FUZZ_EXAMPLES', 45))
SECONDS = 60  # an example takes one at most, on an idle core
MEMORY = 4 * 2**30  # beyond what the process has

VIT = {
    'model': dict(
        _delete_=True,
        type='DualModel',
        **{
            name: dict(
                type='TimmClassifier',
                model_name='vit_tiny_patch16_224',
                num_classes=10,
                img_size=8,
                patch_size=4,
                in_chans=1,
                depth=2,
                embed_dim=width,
                num_heads=heads,
                mean=[0.3],
                std=[0.4],
                mixup=dict(mixup_alpha=0.2),
            )
            for name, width, heads in (('base', 24, 1), ('motivated', 48, 2))
        },
        weight_map=dict(type='AutoMap', channels='seeded', seed=1),
        statistics='shared',
        recalibrate=64,
        optimizer_state='transfer',
        distillation=dict(weight=0.5, temperature=2.0),
        ema=dict(decay=0.9, update_after_step=2, use_warmup=False),
    ),
    'optim_wrapper': dict(
        _delete_=True,
        optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.99)),
        clip_grad=dict(max_norm=1.0),
        motivated=dict(optimizer=dict(lr=1e-4)),
    ),
    'param_scheduler': [
        dict(type='LinearLR', start_factor=0.01, end=5, convert_to_iter_based=True),
        dict(type='MultiStepLR', milestones=[5, 8], begin=5),
    ],
}
COMBINED = {
    'motivation.policy': dict(
        _delete_=True,
        type='Budget',
        min_saving=1.2,
        policy=dict(
            type='Any',
            policies=[
                dict(type='RandomGate', rate=0.2, seed=3),
                dict(type='LimitSpells', policy=dict(type='LossRise', rises=2), min_spell=2, max_spell=9),
                dict(type='During', policy=dict(type='Not', policy=dict(type='Never')), start=0.5, end=1.0),
                dict(type='GradientNorm', below=0.5, relative=0.9),
            ],
        ),
    ),
    'val_evaluator': [dict(type='Accuracy', topk=(1, 3))],
    'default_hooks.logger.interval': 5,
}
# Counting takes longer than training on one batch; only the budget policy needs it.
UNCOUNTED = {'default_hooks.compute_meter': None}
CONFIGS = {'quickstart': UNCOUNTED, 'vit': VIT | UNCOUNTED, 'combined': COMBINED}


def paths(node, path=()):
    """Yield the path of everything in a config."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths(child, (*path, key))


def parent_of(node, path):
    for key in path[:-1]:
        node = node[key]
    return node


def nested(depth):
    return {'a': [nested(depth - 1)]} if depth else 'deep'


RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 3, 1000, 10**9, 10**12, 10**30, 0.0, -0.5, 0.3, 1e30, -1e-9]),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.sampled_from(['', 'x', '3', 'none', 'é\n\t', 'a' * 1000, 'base', 'SGD', 'cuda:7', '/', '..', b'x']),
    st.builds(list),
    st.builds(dict),
    st.sampled_from([(1,), (2, 2), (-1, 5), ('a',), (None,), (0.5, 0.9, 0.1), ((),)]).flatmap(
        lambda value: st.sampled_from([value, list(value)])
    ),
    st.sampled_from([{'type': None}, {'type': ''}, {'type': 'x'}, {'a': 1}, {1: 2}, {'type': ('a',)}, {'': {}}]),
    st.integers(1, 40).map(nested),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)


@st.composite
def mutants(draw, plain):
    """Draw a config with one or two fields made invalid."""
    config = copy.deepcopy(plain)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        # The depth first, because otherwise most mutations would hit the many fields of the hooks.
        places = list(paths(config))
        top = draw(st.sampled_from([place for place in places if len(place) == 1]))
        path = draw(st.sampled_from([place for place in places if place[:1] == top]))
        node, key = parent_of(config, path), path[-1]
        kinds = ['replace', 'replace', 'replace', 'delete', 'typo', 'swap', 'add']
        kind = draw(st.sampled_from(kinds if isinstance(node, dict) else ['replace', 'swap']))
        if isinstance(node, tuple):
            continue
        if kind == 'replace':
            node[key] = copy.deepcopy(draw(RUBBISH))
        elif kind == 'delete':
            del node[key]
        elif kind == 'typo':
            node[draw(misspelt(str(key)))] = node.pop(key)
        elif kind == 'add':
            node[draw(misspelt(str(key)))] = copy.deepcopy(draw(RUBBISH))
        else:
            other = draw(st.sampled_from(places))
            shared = min(len(other), len(path))
            owner = parent_of(config, other)
            if other[:shared] != path[:shared] and not isinstance(owner, tuple):
                node[key], owner[other[-1]] = owner[other[-1]], node[key]
    return config


@st.composite
def misspelt(draw, word):
    place = draw(st.integers(0, len(word) - 1))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    swapped = before + after[:1] + letter + after[1:]
    return draw(
        st.sampled_from([before + after, f'{before}{letter}{word[place:]}', f'{before}q{after}', swapped, word.upper()])
    )


class Done(BaseException):
    """Raised after training on one batch."""


class StopAfterOneBatch(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, *args, **kwargs):
        raise Done


class Hanging(BaseException):
    pass


def outcome(config):
    """Return ``'trains'`` or the error of a config, after building everything and training on one batch."""

    def hang(*_):
        raise Hanging(f'still busy after {SECONDS} seconds')

    previous = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    quiet = io.StringIO()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(quiet),
            contextlib.redirect_stderr(quiet),
            warnings.catch_warnings(),
            limited_memory(),
        ):
            warnings.simplefilter('ignore')
            try:
                with mock.patch.object(Config, 'fromfile', lambda *_, **__: Config(copy.deepcopy(config))):
                    run = prepare_training(DIGITS, folder)
                runner = RUNNERS.build(run)
                runner.register_hook(StopAfterOneBatch())
                runner.train()
            except Done:
                return 'trains'
            except ConfigError as error:
                return str(error)
            finally:
                close_logs()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def limited_memory():
    """Limit the memory, so that a huge allocation fails instead of the machine."""
    pages = int(open('/proc/self/statm').read().split()[0])  # noqa: PTH123, SIM115
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def close_logs():
    """Close the logs and curves that MMEngine keeps of every run in a process."""
    for manager in (MMLogger, MessageHub, Visualizer, DefaultScope):
        for instance in manager._instance_dict.values():
            for handler in getattr(instance, 'handlers', ()):
                handler.close()
            for backend in getattr(instance, '_vis_backends', {}).values():
                with contextlib.suppress(Exception):  # one that never opened
                    backend.close()
        manager._instance_dict.clear()


def complaint(said, fields):
    """Return what is wrong with an error message, or ``None``."""
    if said == 'trains':
        return None
    if '\n' in said or len(said) >= 700:
        return 'is not one line of less than 700 characters'
    if not fields & set(re.findall(r'\w+', said)):
        return 'names no field of the config'
    return None


SEEN = Counter()


@pytest.mark.parametrize('name', CONFIGS)
def test_every_mutated_config_trains_or_raises_one_sentence(name):
    plain = load_config(DIGITS, copy.deepcopy(CONFIGS[name]))._cfg_dict.to_dict()

    @settings(
        max_examples=EXAMPLES if name == 'quickstart' else EXAMPLES // 4,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutants(plain))
    def check(config):
        said = outcome(config)
        SEEN['trains' if said == 'trains' else 'refused'] += 1
        fields = {str(path[-1]) for tree in (plain, config) for path in paths(tree)}
        assert complaint(said, fields) is None, said

    check()
    print(f'{name}: {dict(SEEN)}')


def test_valid_configs_train():
    for options in CONFIGS.values():
        assert outcome(load_config(DIGITS, copy.deepcopy(options))._cfg_dict.to_dict()) == 'trains'
