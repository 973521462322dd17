"""Documentation: its lists are complete, and its instructions work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from motivation import policies
from motivation.comparison.arms import ALIASES
from motivation.hooks.policy_signals import SIGNALS
from tests.conftest import ROOT

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


def test_instructions_for_writing_a_policy_work():
    """Follow the section in an empty folder, with every file and command in order, but shorter runs."""
    for name in ('configs', 'tools'):
        Path(name).symlink_to(ROOT / name)
    Path('trend').mkdir()
    section = POLICIES_PAGE.split('## Write your own')[1].split('### Ask for more')[0]
    outputs = []
    for language, code in re.findall(r'```(\w+)\n(.*?)```', section, flags=re.S):
        if language == 'python':
            path = re.match(r'# (\S+\.py)\n', code).group(1)
            Path(path).write_text(code)
            continue
        command = code.strip().replace('python ', f'{sys.executable} ', 1)
        if 'train.py' in command:
            command += ' --cfg-options train_cfg.max_epochs=1 param_scheduler=[]'
        if 'compare.py' in command:
            command = command.replace('--epochs 10', '--epochs 1 --seeds 0')
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, check=False, env={**os.environ, 'OMP_NUM_THREADS': '1'}
        )
        assert (done.returncode, done.stderr) == (0, ''), command
        outputs.append(done.stdout)
    assert outputs[0] == 'decides as it should\n' and len(outputs) == 3
    arms = json.loads(Path('work_dirs/compare_digits/compare.json').read_text())['arms']
    assert [arm['arm'] for arm in arms] == ['never', 'always', 'consecutive', 'LossTrend', 'matched:arm=LossTrend']
    own, control = (arm['runs'][0]['motivated_fraction'] for arm in arms[3:])
    assert own == control > 0
