import json
from pathlib import Path

import pytest

from tests.conftest import DIGITS
from tests.tools.call import call_here

VIT = ['base.img_size=32', 'base.depth=1', 'motivated.img_size=32', 'motivated.depth=2']


def test_prints_the_map_coverage_and_verdict_of_a_config():
    done = call_here('weight_map.py', DIGITS)
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    assert lines[0].split() == ['base', 'tensor', 'shape', 'motivated', 'tensor', 'shape', 'entries']
    assert lines[1].split() == ['backbone.conv1.weight', *['16', 'x', '1', 'x', '3', 'x', '3'], 'backbone.conv1.weight', *['16', 'x', '1', 'x', '3', 'x', '3'], 'all']  # fmt: skip
    facts = dict(line.split(maxsplit=1) for line in lines[-6:])
    assert facts['coverage'] == f'{77_754 / 272_186:.1%} of the motivated model is the base model'
    assert facts['extension'] == '194,432 parameters'
    assert facts['verdict'].startswith('exact (relative difference')


def test_two_timm_names_and_a_file_that_reads_back():
    names = ['vit_tiny_patch16_224', 'vit_small_patch16_224']
    done = call_here('weight_map.py', *names, '--quiet', '--json', 'map.json', '--cfg-options', *VIT, 'channels=seeded')
    assert (done.returncode, done.stderr) == (0, '')
    assert "AutoMap(placement='leading', channels='seeded', seed=0)" in done.stdout
    assert 'verdict    exact but for norms over more channels' in done.stdout
    written = json.loads(Path('map.json').read_text())['pairs']
    row = next(pair for pair in written if pair['base'] == 'backbone.blocks.0.attn.qkv.weight')
    assert row['motivated'] == row['base'] and len(row['index']) == 2
    again = call_here('weight_map.py', *names, '--quiet', '--cfg-options', *VIT, 'type=ExplicitMap', 'file=map.json')
    assert again.returncode == 0 and "ExplicitMap(file='map.json')" in again.stdout

    for pair in written:  # the shapes still match
        if pair['base'].endswith('qkv.weight'):
            pair['index'][0] = '0:576'
    Path('map.json').write_text(json.dumps({'pairs': written}))
    wrong = call_here('weight_map.py', *names, '--quiet', '--cfg-options', *VIT, 'type=ExplicitMap', 'file=map.json')
    assert wrong.returncode == 1 and 'verdict    NOT VALID' in wrong.stdout


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['plcement=spread'],
            "error: model.weight_map.plcement is not an argument of AutoMap; did you mean 'placement'",
        ),
        (['type=Nope'], "error: model.weight_map.type is 'Nope', which is not registered"),
        (['bas.depth=3'], "error: --cfg-options bas.depth is not a field; did you mean 'base'"),
        (['input_size=32'], 'error: model.weight_map.input_size must be a list or None, got 32'),
        (
            ['placement=leading', '--json', 'no/such/map.json'],
            "error: --json 'no/such/map.json' is in a folder that does not",
        ),
    ],
)
def test_invalid_input_is_one_sentence(options, message):
    done = call_here('weight_map.py', 'cifar_resnet8', 'cifar_resnet20', '--cfg-options', *options)
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr.startswith(message) and done.stderr.count('\n') == 1


def test_networks_that_do_not_fit_are_one_sentence():
    done = call_here('weight_map.py', 'resnet18', 'resnet50')
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith("error: the base model does not fit: 'backbone.layer1.0.bn3.weight'")


def test_prints_the_factor_of_each_rate_under_layer_wise_decay():
    done = call_here('weight_map.py', 'cifar_resnet8', 'cifar_resnet20', '--layer-decay', '0.5')
    assert (done.returncode, done.stderr) == (0, '')
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ['layer', 'motivated', 'tensor', 'rate', 'base', 'tensor', 'rate']
    assert all(line[2] == line[4] for line in lines[1:] if len(line) == 5)
    assert ['2', 'backbone.layer1.1.conv1.weight', '0.00391', '-'] in lines
    wrong = call_here('weight_map.py', 'cifar_resnet8', 'cifar_resnet20', '--layer-decay', '2')
    assert wrong.returncode == 2 and wrong.stderr.startswith(
        'error: --layer-decay must be above 0 and at most 1, got 2'
    )
