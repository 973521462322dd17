"""The schema of compare.json: complete, documented, and true of what is written."""

import copy
import json
import re

import jsonschema
import pytest

from motivation.comparison import results
from motivation.comparison.output.output_files import dump
from tests.comparison.test_results import compare
from tests.comparison.test_stopping import finish, planned
from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / 'motivation/comparison/compare.schema.json').read_text())


def objects(node):
    """Yield every object of the schema that has properties."""
    if isinstance(node, dict):
        if 'properties' in node:
            yield node
        for child in node.values():
            yield from objects(child)


def properties():
    return [(name, field) for one in objects(SCHEMA) for name, field in one['properties'].items()]


def types(field):
    return {field['type']} if isinstance(field.get('type'), str) else set(field.get('type', ()))


def check(comparison):
    jsonschema.Draft202012Validator(SCHEMA).validate(comparison)


def written(comparison):
    """Return what compare.json holds."""
    return json.loads(dump(comparison))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'labels': ('never',)},  # nothing to compare with
        {'labels': ('consecutive', 'matched'), 'failed': {('matched', seed) for seed in range(3)}},
        {'failed': {('consecutive', 1), ('consecutive', 2)}},  # intervals of one seed
        {'metric': 'loss/cross_entropy'},
    ],
)
def test_written_file_is_as_the_schema_says(options):
    check(written(compare(**options)))


@pytest.mark.parametrize('path', sorted((ROOT / 'docs/evidence').glob('*.json')), ids=lambda path: path.stem)
def test_published_results_are_as_the_schema_says(path):
    check(json.loads(path.read_text()))


def test_written_file_of_a_sequential_test_is_as_the_schema_says():
    jobs, judgement = planned()
    for seed in range(2):
        finish(jobs, seed)
    comparison = written(judgement.results(config='study.py', epochs=2))
    check(comparison)
    assert comparison['test']['kind'] == 'sequential' and comparison['test']['stopped']


def test_number_that_is_not_finite_is_written_as_null_which_every_reader_of_json_takes():
    comparison = compare()
    comparison['arms'][0]['runs'][0]['base'] = float('nan')
    comparison['arms'][0]['runs'][0]['history'][0]['base'] = float('inf')
    run = written(comparison)['arms'][0]['runs'][0]
    assert run['base'] is None and run['history'][0]['base'] is None


def test_schema_is_valid_and_of_the_version_that_is_written():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA['properties']['schema']['const'] == results.SCHEMA


def test_field_that_the_schema_lacks_is_refused_everywhere():
    assert all(one['additionalProperties'] is False for one in objects(SCHEMA))
    written = compare()
    for path in ([], ['arms', 0], ['arms', 0, 'runs', 0], ['arms', 0, 'runs', 0, 'history', 0], ['claims', 0]):
        comparison = copy.deepcopy(written)
        part = comparison
        for step in path:
            part = part[step]
        part['new'] = 1
        with pytest.raises(jsonschema.ValidationError, match="'new' was unexpected"):
            check(comparison)


def test_every_field_has_a_description_and_every_number_a_unit():
    for name, field in properties():
        assert re.fullmatch(r'[A-Z].*\.', field.get('description', ''), flags=re.S), name
        if types(field) & {'number', 'integer'}:
            assert field.get('unit'), name


def linked(field):
    """Return the names of the objects that a field consists of."""
    return re.findall(
        r'#/\$defs/(\w+)', json.dumps({name: part for name, part in field.items() if name != 'description'})
    )


def type_of(field):
    """Return the type of a field in words, with links to the tables of objects."""
    if 'properties' in field:
        return '[equal flops](#equal-flops)'
    names = [f'[{name.replace("_", " ")}](#{name.replace("_", "-")})' for name in linked(field)]
    kinds = sorted(types(field) - {'object', 'array'}, key='null'.__eq__)
    words = [*names, *(['null'] if 'anyOf' in field else []), *(kinds if not names else [])]
    if 'items' in field and not names:
        words = ['string'] if 'enum' in field['items'] else sorted(types(field['items']), key='null'.__eq__)
    text = ' or '.join(words)
    if 'items' in field:
        return f'list of {text}'
    return f'{text} by arm' if isinstance(field.get('additionalProperties'), dict) else text or 'object'


def documented():
    """Return the tables of docs/compare_json.md, one for each object."""
    parts = {'compare.json': SCHEMA, 'equal flops': SCHEMA['properties']['equal_flops'], **SCHEMA['$defs']}
    for title, part in parts.items():
        rows = [
            f'| `{name}` | {type_of(field)} | {field.get("unit", "").replace("none", "")} | {field["description"]} |'
            for name, field in part['properties'].items()
        ]
        yield '\n'.join(
            [f'## {title.replace("_", " ")}', '', part['description'], '',
             '| field | type | unit | meaning |', '| :-- | :-- | :-- | :-- |', *rows]
        )  # fmt: skip


def test_page_of_the_schema_says_what_the_schema_says():
    page = (ROOT / 'docs/compare_json.md').read_text()
    assert page.split('## ', 1)[1] == '\n\n'.join(documented()).removeprefix('## ') + '\n'
