import pytest

from motivation.errors import ConfigError, clear_errors, counted, near_matches


@pytest.mark.parametrize(
    ('name', 'known', 'clause'),
    [
        ('Nevr', ['Never', 'Always'], "did you mean 'Never'?"),
        ('xyz', ['b', 'a'], 'there is a, b'),
        ('xyz', [], 'there is none'),
        ('q', [f'n{i:02}' for i in range(23)], 'there is ' + ', '.join(f'n{i:02}' for i in range(20)) + ' and 3 more'),
    ],
)
def test_near_matches_suggest_similar_or_list_all_names(name, known, clause):
    assert near_matches(name, known) == clause


def test_counts_have_their_noun_in_the_plural_unless_they_are_1():
    assert [counted(count, 'file') for count in (0, 1, 1000)] == ['0 files', '1 file', '1,000 files']


def test_config_error_is_one_line_and_status_2(capsys):
    with pytest.raises(SystemExit) as caught, clear_errors():
        raise ConfigError('field is 1; it must be 2')
    assert caught.value.code == 2
    assert capsys.readouterr().err == 'error: field is 1; it must be 2\n'


def test_programming_error_keeps_its_traceback():
    with pytest.raises(ValueError, match='a bug'), clear_errors():
        raise ValueError('a bug')
