import pytest
import torch
from torch import nn

from motivation.errors import ConfigError
from motivation.weight_maps import ExplicitMap

PAIRS = [
    dict(base='weight', motivated='weight', index=['1:3', '0:1,3:4']),
    dict(base='bias', motivated='bias', index=['1:3']),
]


def test_index_selects_the_given_entries():
    base, motivated = nn.Linear(2, 2), nn.Linear(4, 3)
    ExplicitMap(base, motivated, pairs=PAIRS).transfer('motivated')
    assert torch.equal(base.weight, motivated.weight[1:3][:, [0, 3]])
    assert torch.equal(base.bias, motivated.bias[1:3])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, r'^pairs is .*, file is .*; give exactly one of pairs, file$'),
        (dict(pairs=PAIRS, file='a.json'), r'^pairs is .*, file is .*; give exactly one of pairs, file$'),
        (dict(file='nowhere.json'), r"^file 'nowhere\.json' does not exist; write one with motivation map"),
        (dict(file='bad.json'), r"^file 'bad\.json' is not a weight map \(JSONDecodeError"),
        (dict(pairs=[dict(base='weight')]), r"^pairs must be like .*, got \{'base': 'weight'\}$"),
        (dict(pairs=[dict(base='weight', motivated='weight', index=['a:b', ':'])]), r'^pairs must be like .*, got .*a:b'),
        (dict(pairs=[dict(base='weight', motivated='weight'), PAIRS[1]]), r"pairs 'weight' of the base model, \(2, 2\), with 'weight' of the motivated model, \(3, 4\), without an index; give an index"),
        (dict(pairs=[dict(PAIRS[0], index=['1:3', ':']), PAIRS[1]]), r"\(2, 2\), with the entries \[1:3 ; :\] of 'weight' .*\(3, 4\), which are \(2, 4\)"),
        (dict(pairs=[dict(PAIRS[0], index=['2:4', '0:2']), PAIRS[1]]), r"takes the entries 2:4 of 'weight', which has 3"),
        (dict(pairs=[dict(PAIRS[0], index=['1:2,1:2', '0:2']), PAIRS[1]]), r'each must exist and be taken once'),
        (dict(pairs=[]), r"gives 'bias' of the base model no image \(2 of 2"),
        (dict(pairs=[dict(PAIRS[0], indices=[])]), r'^pairs must be like .*, got .*indices'),
        (dict(file='list.json'), r"^file 'list\.json' is not a weight map \(TypeError: \"pairs\" is 5"),
        (dict(pairs=PAIRS[:1]), r"gives 'bias' of the base model no image"),
    ],
)  # fmt: skip
def test_invalid_maps_are_an_error(tmp_path, arguments, message):
    (tmp_path / 'bad.json').write_text('{')
    (tmp_path / 'list.json').write_text('{"pairs": 5}')
    with pytest.raises(ConfigError, match=message):
        ExplicitMap(nn.Linear(2, 2), nn.Linear(4, 3), **arguments)
