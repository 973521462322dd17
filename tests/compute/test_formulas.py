import math

import pytest
import torch
from torch import nn

from motivation.compute import formulas, register_formula
from motivation.compute.forward_check import check_forward
from motivation.compute.forward_macs import count_forward
from motivation.compute.step_macs import count_train_step, dispatch_forward
from motivation.errors import ConfigError
from motivation.models import TimmClassifier


@pytest.mark.parametrize(
    ('equation', 'shapes', 'macs'),
    [
        ('bij,bjk->bik', [[2, 3, 4], [2, 4, 5]], 2 * 3 * 4 * 5),
        ('bhid,bhjd->bhij', [[2, 3, 4, 5], [2, 3, 6, 5]], 2 * 3 * 4 * 6 * 5),
        ('ij,ij->ij', [[3, 4], [3, 4]], 0),  # element-wise
        ('ij->j', [[3, 4]], 0),
        ('...ij,...jk->...ik', [[2, 3, 4], [2, 4, 5]], 2 * 3 * 4 * 5),
        ('...c,cd->...d', [[2, 3, 4], [4, 5]], 2 * 3 * 4 * 5),
        ('...ij,...jk', [[7, 1, 3, 4], [2, 4, 5]], 7 * 2 * 3 * 4 * 5),  # broadcast, the result left to torch
        ('ij,jk', [[2, 3], [3, 4]], 2 * 3 * 4),
        ('ij,jk,kl->il', [[2, 3], [3, 4], [4, 5]], 2 * 3 * 4 + 2 * 4 * 5),  # from left to right
        ('ij,k->k', [[3, 4], [5]], 0),  # i and j are summed beforehand, then nothing is
    ],
)
def test_einsum_by_hand_and_as_torch_dispatches_it(equation, shapes, macs):
    assert formulas.einsum_macs(equation, shapes) == macs

    class Einsum(nn.Module):
        def forward(self, x):
            return torch.einsum(equation, *(x.new_ones(shape) for shape in shapes)) + x.sum()

    assert count_forward(Einsum(), torch.zeros(1)).total == macs
    assert dispatch_forward(Einsum(), torch.zeros(1)).forward == macs


@torch.library.custom_op('motivation_test::product', mutates_args=())
def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left @ right


@product.register_fake
def _(left, right):
    return left.new_empty(left.shape[0], right.shape[1])


def _backward(ctx, grad):
    left, right = ctx.saved_tensors
    return product(grad, right.t().contiguous()), product(left.t().contiguous(), grad)


product.register_autograd(_backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs))


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 5))

    def forward(self, x):
        return product(x.flatten(1), self.weight)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(formulas, 'CUSTOM', {})
    register_formula('motivation_test::product', lambda left, right, output: math.prod(output) * left[-1])


def custom_classifier():
    model = TimmClassifier('test_resnet', num_classes=5)
    model.backbone = Custom()
    return model.train()


def test_custom_operator_without_a_formula_is_an_error():
    for count in (count_forward, dispatch_forward):
        with pytest.raises(ConfigError, match=r"'motivation_test::product' cannot be counted: .*register_formula"):
            count(Custom(), torch.zeros(2, 3, 2, 2))


def test_registered_formula_counts_in_both_counters_forward_and_backward(registered):
    check_forward(Custom(), torch.zeros(2, 3, 2, 2))
    assert count_forward(Custom(), torch.zeros(2, 3, 2, 2)).total == 2 * 12 * 5
    data = {'inputs': torch.zeros(2, 3, 2, 2), 'targets': torch.zeros(2, dtype=torch.long)}
    # The gradients of the weight and, in this operator's own backward, of the image.
    assert count_train_step(custom_classifier(), data).modules[''] == (2 * 12 * 5, 2 * 2 * 12 * 5)


def test_counts_that_differ_name_the_module(registered, monkeypatch):
    """Use a formula that is wrong in one counter only."""
    monkeypatch.setitem(formulas.CUSTOM, 'motivation_test::product', lambda left, right, output: 1)
    import motivation.compute.step_macs as step_macs

    monkeypatch.setattr(step_macs.formulas, 'operator_of', lambda name: None)
    product_macs = {torch.ops.motivation_test.product: lambda left, right: left[0] * left[1] * right[1]}
    monkeypatch.setattr(step_macs, '_FORMULAS', {**step_macs._FORMULAS, **product_macs})
    network = nn.Sequential(nn.Identity(), Custom())
    with pytest.raises(
        ConfigError, match=r"are 1 by fvcore and 60 by dispatch; they differ in '1' \(Custom: 1 and 60\)"
    ):
        check_forward(network, torch.zeros(2, 3, 2, 2))


def test_operator_name_without_a_namespace_is_an_error():
    with pytest.raises(ConfigError, match="register_formula got 'product'"):
        register_formula('product', lambda *_, **__: 0)


def test_formula_of_an_unknown_operator_is_an_error(registered):
    register_formula('motivation_test::prodct', lambda left, right, output: 0)
    with pytest.raises(ConfigError, match="register_formula got 'motivation_test::prodct', which is not an operator"):
        dispatch_forward(Custom(), torch.zeros(2, 3, 2, 2))


def test_matrix_exponential_is_an_error():
    class Rotation(nn.Module):
        def forward(self, x):
            return torch.linalg.matrix_exp(x[:, 0])

    for count in (count_forward, dispatch_forward):
        with pytest.raises(ConfigError, match="'aten::linalg_matrix_exp' cannot be counted"):
            count(Rotation(), torch.zeros(2, 3, 4, 4))


@torch.library.custom_op('motivation_test::scaled', mutates_args=())
def scaled(left: torch.Tensor, scales: list[int], right: torch.Tensor) -> torch.Tensor:
    return left @ right * scales[0]


@scaled.register_fake
def _(left, scales, right):
    return left.new_empty(left.shape[0], right.shape[1])


class Scaled(nn.Module):
    def forward(self, x):
        return scaled(x.flatten(1), [3, 4], x.new_ones(12, 5))


def test_formula_receives_lists_and_numbers(registered):
    seen = []
    register_formula(
        'motivation_test::scaled',
        lambda left, scales, right, output: seen.append(scales) or math.prod(output) * left[-1],
    )
    check_forward(Scaled(), torch.zeros(2, 3, 2, 2))
    assert seen == [[3, 4], [3, 4]]


@pytest.mark.parametrize(
    ('formula', 'message'),
    [
        (lambda left, right: 1, r'does not take the shapes .*: TypeError: .*output'),
        (lambda left, right, output: 'many', r"must return an integer of at least 0, got 'many' for the shapes"),
        (lambda left, right, output: -5, r'must return an integer of at least 0, got -5 for the shapes .*\)$'),
    ],
)
def test_invalid_formula_is_an_error(registered, formula, message):
    register_formula('motivation_test::product', formula)
    for count in (count_forward, dispatch_forward):
        with pytest.raises(ConfigError, match=f"^the formula registered for 'motivation_test::product' {message}"):
            count(Custom(), torch.zeros(2, 3, 2, 2))


def test_formula_that_is_not_callable_is_an_error():
    with pytest.raises(ConfigError, match=r"^register_formula\('mylib::product'\) got 7 as the formula"):
        register_formula('mylib::product', 7)
