import pytest
import timm.optim
import torch
from torch import nn

from motivation.engine import DualOptimWrapperConstructor, timm_optimizer
from motivation.engine.optim.exchanging import exchanging
from motivation.engine.optim.optimizer_checks import check_state, keeps_weights, probe
from motivation.errors import ArgumentError, ConfigError
from motivation.registry import OPTIM_WRAPPERS
from motivation.weight_maps.optimizer_state import state_of
from tests.conftest import small_batch, small_dual_model

# Need a GPU and another package, or second derivatives.
ELSEWHERE = ('bnb*', 'fused*', 'adahessian')
NAMES = [*timm.optim.list_optimizers(exclude_filters=[*ELSEWHERE]), 'lookahead_adamw']


@pytest.fixture(scope='module', autouse=True)
def _eager():
    with torch.compiler.set_stance('force_eager'):  # Kron compiles its update, which takes a minute
        yield


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))


def step(model, optimizer, seed):
    torch.manual_seed(seed)  # as IterationSeedHook does; Kron draws
    model(torch.randn(2, 1, 4, 4)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.fixture(scope='module')
def wrapper():
    return exchanging(OPTIM_WRAPPERS.get('OptimWrapper'))


@pytest.mark.parametrize('name', NAMES)
def test_every_optimizer_of_timm_resumes_exactly(name, wrapper, tmp_path):
    model = network()
    built = wrapper(timm_optimizer(model.parameters(), name, lr=0.01, weight_decay=0.01))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    done = 6
    for seed in range(done):
        step(model, built, seed)
    torch.save((model.state_dict(), built.state_dict()), tmp_path / 'saved')
    weights, state = torch.load(tmp_path / 'saved', weights_only=True)
    again = network()
    again.load_state_dict(weights)
    restored = wrapper(timm_optimizer(again.parameters(), name, lr=0.01, weight_decay=0.01))
    restored.load_state_dict(state)
    for seed in range(done, done + 2):
        step(model, built, seed)
        step(again, restored, seed)
    pairs = list(zip(model.parameters(), again.parameters(), before, strict=True))
    assert all(torch.equal(one, other) for one, other, _ in pairs)
    assert any(not torch.equal(one, old) for one, _, old in pairs)


def test_it_is_timms_optimizer_with_timms_defaults():
    ours = timm_optimizer(network().parameters(), 'nadamw', lr=0.1, weight_decay=0.05, betas=[0.8, 0.99])
    theirs = timm.optim.create_optimizer_v2(
        list(network().parameters()), 'nadamw', lr=0.1, weight_decay=0.05, betas=[0.8, 0.99]
    )
    assert type(ours) is type(theirs) and ours.defaults == theirs.defaults
    assert timm_optimizer(network().parameters(), 'sgd', lr=0.1).defaults['nesterov'] is True


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(opt='lmb'), r"^opt is 'lmb', which is no optimizer of timm; did you mean 'lamb'"),
        (dict(opt='foo_adamw'), r"^opt is 'foo_adamw', which is no optimizer of timm"),
        (dict(opt='adahessian'), 'second derivatives'),
        (dict(opt='sgd', betas=[0.9, 0.99]), r"^betas is not an argument of opt='sgd'"),
        (dict(opt='lamb', foreach=3), r'^foreach must be True or False or None, got 3'),
        (dict(opt='adamw', lr=-1.0), r'^lr must be at least 0 or None, got -1'),
        (dict(opt='adamw', betas=[2.0, 0.9]), r"^opt is 'adamw', which timm cannot build with .*beta"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        timm_optimizer(network().parameters(), **arguments)


def test_errors_name_the_field_of_the_config():
    with pytest.raises(ConfigError, match=r"opt is 'lmb'"):
        DualOptimWrapperConstructor(dict(optimizer=dict(type='TimmOptimizer', opt='lmb')))(small_dual_model())


def test_all_optimizers_that_draw_weights_back_to_a_copy_are_known():
    found = set()
    for name in NAMES:
        parameter = nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
        optimizer, seen = timm_optimizer([parameter], name, lr=0.01), []
        for _ in range(6):
            seen.append(parameter.detach().clone())
            parameter.grad = parameter.detach().sin()
            optimizer.step()
        seen.append(parameter.detach().clone())
        state = state_of(optimizer)[parameter].values()
        tensors = [value for value in state if isinstance(value, torch.Tensor) and value.shape == parameter.shape]
        if any(torch.equal(value, weights) for value in tensors for weights in seen):
            found.add(name)
    assert found == {name for name in NAMES if keeps_weights(dict(opt=name))} == {
        'madgrad', 'madgradw', 'lookahead_adamw'
    }  # fmt: skip


def test_state_that_a_transfer_would_corrupt_is_refused():
    for name in ('lookahead_sgd', 'madgrad'):
        config = dict(type='TimmOptimizer', opt=name, lr=0.01)
        with pytest.raises(ArgumentError, match=r"^optimizer\.opt is .* model\.optimizer_state='transfer'"):
            check_state(config, 'separate')
        check_state(config, 'transfer')
    check_state(dict(type='TimmOptimizer', opt='madgrad', momentum=0), 'separate')
    for config in (dict(type='TimmOptimizer', opt='adafactor'), dict(type='TorchAdafactor', lr=0.01)):
        check_state(config, 'separate')
        with pytest.raises(ArgumentError, match=r"of other shapes .*set that to 'separate'"):
            check_state(config, 'transfer')
    assert probe(dict(type='SGD', lr=0.1, momentum=0.9)).keys()


@pytest.mark.parametrize('opt', ['lamb', 'lookahead_adamw', 'madgrad', 'novograd', 'muon'])
def test_state_is_transferred_through_the_map(opt):
    model = small_dual_model()
    model.optimizer_state = 'transfer'
    wrappers = DualOptimWrapperConstructor(dict(optimizer=dict(type='TimmOptimizer', opt=opt, lr=0.01)))(model)
    model.follow(model.motivation.policy, wrappers)
    for seed in range(6):
        model.train_step(small_batch(seed), wrappers)
    model.activate()
    base, motivated = (state_of(wrappers[name].optimizer) for name in ('base', 'motivated'))
    ours, theirs = base[model.base.backbone.conv1.weight], motivated[model.motivated.backbone.conv1.weight]
    assert ours.keys() == theirs.keys() and ours
    assert all(torch.as_tensor(ours[name]).equal(torch.as_tensor(theirs[name])) for name in ours)
    steps = [wrappers[name].optimizer.param_groups[0].get('step') for name in ('base', 'motivated')]
    assert steps[0] == steps[1]


@pytest.mark.parametrize('name', NAMES)
def test_no_optimizer_moves_a_parameter_without_gradient(name):
    model = network()
    optimizer = timm_optimizer(model.parameters(), name, lr=0.01, weight_decay=0.1)
    step(model, optimizer, 0)
    frozen = model[0].weight.requires_grad_(False)
    before, state = frozen.clone(), {key: repr(value) for key, value in state_of(optimizer)[frozen].items()}
    for seed in range(6):
        step(model, optimizer, seed)
    assert torch.equal(frozen, before)
    assert {key: repr(value) for key, value in state_of(optimizer)[frozen].items()} == state
