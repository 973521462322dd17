"""The lists in the documentation are complete, and its instructions work."""

import json
import re
import shlex
from pathlib import Path
from statistics import fmean, stdev

from mmengine.hooks import Hook

from motivation import policies
from motivation.comparison.arms import ALIASES
from motivation.engine.runner import DualModelRunner
from motivation.hooks.policy_signals import SIGNALS
from motivation.structures import MODEL_NAMES
from tests.conftest import ROOT, train
from tests.forked import forked_launcher, run_forked
from tests.small import small_config
from tests.tools.call import call_here

SHORTER = (
    'train_cfg.max_epochs=1 train_dataloader.batch_size=16 train_dataloader.num_batch_per_epoch=16 '
    'val_dataloader.num_batch_per_epoch=1 param_scheduler=[] default_hooks.compute_meter=None '
    'default_hooks.report.picture=False default_hooks.predictions.pictures=False'
)
POLICIES_PAGE = (ROOT / 'docs/policies.md').read_text()


def test_every_policy_and_every_signal_is_documented():
    for name in set(policies.__all__) - {'SwitchPolicy', 'Compute'}:
        assert re.search(rf'^\|.*`{name}\(', POLICIES_PAGE, flags=re.M), name
    for name in SIGNALS:
        assert re.search(rf'^\| .*`{name}`', POLICIES_PAGE, flags=re.M), name


def test_every_short_name_of_an_arm_is_documented():
    page = (ROOT / 'docs/comparing.md').read_text()
    for name in [*ALIASES, 'distillation', 'config']:
        assert re.search(rf'^\| .*`{name}`', page, flags=re.M), name


def test_policy_instructions_work(monkeypatch):
    """Follow the section in an empty folder, with all of its files and commands, but shorter runs."""
    for name in ('configs', 'tools'):
        Path(name).symlink_to(ROOT / name)
    Path('trend').mkdir()
    monkeypatch.setattr('motivation.executors.local.choose_launcher', forked_launcher)
    section = POLICIES_PAGE.split('## Write your own')[1].split('### Ask for more')[0]
    outputs = []
    for language, code in re.findall(r'```(\w+)\n(.*?)```', section, flags=re.S):
        if language == 'python':
            path = re.match(r'# (\S+\.py)\n', code).group(1)
            Path(path).write_text(code)
            continue
        command = code.strip().removeprefix('python ')
        if 'tools/' in command:
            command = command.replace('--epochs 10', '--epochs 1 --seeds 0') + f' --cfg-options {SHORTER}'
        script, *arguments = shlex.split(command)
        if script == 'tools/compare.py':
            done = call_here('compare.py', *arguments)
        else:
            (done,) = run_forked(script, *arguments)
        assert (done.returncode, done.stderr) == (0, ''), command
        outputs.append(done.stdout)
    assert outputs[0] == 'decides as it should\n' and len(outputs) == 3
    arms = json.loads(Path('work_dirs/compare_digits/compare.json').read_text())['arms']
    assert [arm['arm'] for arm in arms] == ['never', 'always', 'consecutive', 'LossTrend', 'matched:arm=LossTrend']
    own, control = (arm['runs'][0]['motivated_fraction'] for arm in arms[3:])
    assert own == control > 0


def test_timetable_has_every_hook_point_of_a_run_in_order_and_who_is_called(monkeypatch):
    called = {}
    call_hook = DualModelRunner.call_hook

    def record(runner, point, **arguments):
        called.setdefault(point, [hook for hook in runner.hooks if _overrides(hook, point)])
        return call_hook(runner, point, **arguments)

    monkeypatch.setattr(DualModelRunner, 'call_hook', record)
    train(small_config('run', meter=True, **{'val_dataloader.num_batch_per_epoch': 2}))
    page = (ROOT / 'docs/architecture.md').read_text().split('## Timetable')[1]
    rows = re.findall(r'^\| \*?`(\w+)`\*? \| (.*?) \|', page, flags=re.M)
    assert [point for point, _ in rows] == list(called)
    for point, names in rows:
        own = [re.sub('^Dual|Hook$', '', type(hook).__name__) for hook in called[point]]
        listed = names.replace('hooks of your own', '').replace(', Energy', '').replace('Energy', '')
        assert ', '.join(own) == listed, point


def _overrides(hook, point):
    """Whether a hook has a method of its own for a hook point, or one for every stage, such as ``_after_iter``."""
    names = {point, re.sub('^(before|after)_(train|val)_', r'_\1_', point)}
    return any(names & vars(cls).keys() for cls in type(hook).__mro__ if cls is not Hook)


def _published(name: str, model: str, decimals: int = 2) -> dict[str, str]:
    """Return mean and standard deviation of each arm of a published comparison as they stand in a table."""
    arms = json.loads((ROOT / f'docs/evidence/{name}.json').read_text())['arms']
    values = {arm['arm']: [run[model] for run in arm['runs'] if run[model] is not None] for arm in arms}
    return {arm: f'{fmean(own):.{decimals}f} ± {stdev(own):.{decimals}f}' if own else '' for arm, own in values.items()}


def test_tables_of_the_studies_are_those_of_their_data():
    page = (ROOT / 'docs/evidence.md').read_text()
    for name in ('cifar10_16px', 'cifar10_16px_vit'):
        columns = [
            _published(study, model, decimals)
            for model in MODEL_NAMES
            for study, decimals in ((name, 2), (f'{name}_cross_entropy', 3))
        ]
        for arm in columns[0]:
            cells = [column[arm] for column in columns]
            assert re.search(
                rf'^\| [^|]+ \| `{re.escape(arm)}` \| ' + r' (?:\* )?\| '.join(map(re.escape, cells)), page, flags=re.M
            ), arm


def test_table_of_the_readme_is_that_of_the_study():
    base, motivated = (_published('cifar10_16px', model) for model in MODEL_NAMES)
    arms = ('never', 'always', 'cifar10_16px_letter.py', 'config')
    section = (ROOT / 'README.md').read_text().split('## What it brings')[1].split('\n## ')[0]
    rows = [re.split(r' *\| ?', line)[2:4] for line in section.splitlines() if line.startswith('| ')][2:]
    assert rows == [[base[arm], motivated[arm]] for arm in arms]
