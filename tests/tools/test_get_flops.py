import json
from pathlib import Path

import pytest
import torch

from motivation.compute.macs import measure_model
from motivation.models import TimmClassifier
from motivation.report.flops_table import describe_pair
from tests.conftest import DIGITS
from tests.small import SMALL_PAIR
from tests.tools.call import call_here


def call(*arguments):
    return call_here('get_flops.py', *arguments)


def test_cost_of_a_config_covers_its_images_and_epochs():
    done = call(DIGITS, '--detail', '--json', 'pair.json')
    assert (done.returncode, done.stderr) == (0, '')
    pair = json.loads(Path('pair.json').read_text())
    assert pair['input'] == [1, 8, 8] and pair['images'] == 1437 * 40
    for name in ('base', 'motivated'):
        one = pair[name]
        for part in ('stages', 'operators'):  # the parts add up to the total
            forward, backward = (sum(counts) for counts in zip(*one[part].values(), strict=True))
            assert (forward, backward) == (one['forward_macs_per_image'], one['backward_macs_per_image'])
    # The first convolution of ResNet-8 on 8 x 8 greyscale images; its input needs no gradient.
    assert pair['base']['stages']['conv1'] == [64 * 16 * 9, 64 * 16 * 9]
    assert pair['base']['stages'].keys() == {'conv1', 'layer1', 'layer2', 'layer3', 'fc'}
    cost = {
        name: 2 * (pair[name]['forward_macs_per_image'] + pair[name]['backward_macs_per_image'])
        for name in ('base', 'motivated')
    }
    assert pair['largest_saving'] == cost['motivated'] / cost['base']
    planned = {row['motivated_fraction']: row for row in pair['planned']}
    assert planned[0.0]['train_flops'] == cost['base'] * 1437 * 40
    assert planned[1.0]['train_flops'] == cost['motivated'] * 1437 * 40 and planned[1.0]['saving'] == 1
    assert planned[0.5]['train_flops'] == (cost['base'] + cost['motivated']) * 1437 * 20
    for text in ('77,754', '272,186', 'conv1', 'aten.convolution_backward', 'largest saving of this pair: 3.33 x'):
        assert text in done.stdout


def test_cost_includes_distillation_and_what_is_computed_once_per_batch():
    class PerBatch(TimmClassifier):
        """A classifier that multiplies 3 x 4 by 4 x 5 once in each step, whatever the batch size."""

        def forward(self, inputs, targets=None, mode='tensor'):
            outputs = super().forward(inputs, targets, mode)
            further = (self.left @ self.right).sum()
            return {'loss': outputs['loss'] + further} if mode == 'loss' else outputs + further

    base = PerBatch('cifar_resnet8', 10)
    base.left, base.right = torch.nn.Parameter(torch.ones(3, 4)), torch.nn.Parameter(torch.ones(4, 5))
    models = {'base': base, 'motivated': TimmClassifier('cifar_resnet8', 10, width=2)}
    sample = {'inputs': torch.zeros(1, 3, 8, 8), 'targets': torch.tensor([0])}
    macs = {name: measure_model(model, sample) for name, model in models.items()}
    assert macs['base'].step.forward.per_batch == 60
    alone = {name: macs[name].step.flops(4, 100) for name in models}
    pair = describe_pair(models, sample, images=100, batch_size=32, distillation=True)
    planned = {row['motivated_fraction']: row['train_flops'] for row in pair['planned']}
    assert planned[0.0] == alone['base'] and planned[1.0] == alone['base'] + alone['motivated']
    assert pair['base']['fixed_macs_per_step'] == 60 + 2 * 60


def test_images_that_the_loader_drops_are_not_counted():
    options = {'train_dataloader.batch_size': 64, 'train_dataloader.drop_last': True, **SMALL_PAIR}
    assert (
        call(
            DIGITS, '--json', 'pair.json', '--cfg-options', *(f'{name}={value}' for name, value in options.items())
        ).returncode
        == 0
    )
    assert json.loads(Path('pair.json').read_text())['images'] == 22 * 64 * 40


def test_pair_in_the_wrong_order_saves_nothing():
    done = call('cifar_resnet20', 'cifar_resnet8', '--input', '3', '8', '8')
    assert 'this pair saves nothing: the base model costs more than the motivated model' in done.stdout


def test_two_timm_names_with_a_given_input_shape():
    done = call(
        'test_resnet', 'test_efficientnet', '--input', '3', '64', '64', '--images', '1000', '--json', 'pair.json'
    )
    assert (done.returncode, done.stderr) == (0, '')
    pair = json.loads(Path('pair.json').read_text())
    assert pair['input'] == [3, 64, 64] and pair['images'] == 1000
    assert [pair[name]['model'] for name in ('base', 'motivated')] == ['test_resnet', 'test_efficientnet']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['resnet18', 'resnt34'], "error: model_name 'resnt34' is not a timm model"),
        ([DIGITS, '--json', 'no/where.json'], "error: --json 'no/where.json' is in a folder that does not exist"),
        (['resnet18', 'resnet34', '--images', '0'], 'error: --images must be at least 1, got 0'),
        (['resnet18', 'resnet34', '--input', '3', '0', '8'], 'error: --input is 3 0 8; channels, height and width'),
        (['test_vit', 'test_vit2', '--input', '3', '31', '31'], "error: model 'test_vit' does not run on batches of"),
        (
            ['resnet18', 'resnet34', '--input', '1', '32', '32'],
            'error: --input has 1 channels, but models given by timm name have 3',
        ),
        ([DIGITS, '--json', '.'], "error: --json '.' is a folder; name a file in it"),
        ([DIGITS, '--input', '3', '32', '32'], 'error: --input is for timm names only; '),
    ],
)
def test_invalid_input_is_one_sentence_and_exit_status_2(arguments, message):
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count('\n') == 1
