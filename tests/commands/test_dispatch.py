"""The command line: the same code behind the command and the files in tools/."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

import motivation
from motivation.commands import dispatch
from tests.conftest import DIGITS, ROOT
from tests.tools.call import call_here

TOOLS = {'weight_map': 'map', 'get_flops': 'flops', 'plot_switches': 'plot'}


def call_main(capsys, *arguments):
    """Run the command line, and return its exit status, output and errors."""
    try:
        dispatch.main(arguments)
        status = 0
    except SystemExit as error:
        status = error.code or 0
    return status, *capsys.readouterr()


def test_help_has_a_line_for_every_command_and_a_page_describes_each(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    status, text, _ = call_main(capsys, '--help')
    assert status == 0
    page = (ROOT / 'docs/commands.md').read_text()
    for name in dispatch.COMMANDS:
        assert re.search(rf'^    {name} +[A-Z].{{10,80}}$', text, flags=re.M), name
        section = page.split(f'\n## {name}\n')[1].split('\n## ')[0]
        own = argparse.ArgumentParser(add_help=False)
        importlib.import_module(f'motivation.commands.{name}').add_arguments(own)
        options = [option for action in own._actions for option in action.option_strings]
        assert [option for option in options if f'`{option}' not in section] == [], name
    assert call_main(capsys, '--version')[:2] == (0, f'motivation {motivation.__version__}\n')


@pytest.mark.parametrize('name', dispatch.COMMANDS)
def test_option_given_twice_keeps_the_values_of_both(name):
    parser = argparse.ArgumentParser()
    importlib.import_module(f'motivation.commands.{name}').add_arguments(parser)
    for action in parser._actions:
        if action.option_strings and action.nargs == '+':
            given = argparse.Namespace(**{action.dest: action.default})
            for value in ('a=1', 'b=2'):
                action(parser, given, [value])
            assert len(getattr(given, action.dest)) == 2, action.option_strings


def test_unknown_command_names_the_known_ones(capsys):
    status, _, errors = call_main(capsys, 'trian')
    assert status == 2 and "invalid choice: 'trian'" in errors and 'train' in errors


def test_every_tool_that_is_a_command_calls_it():
    for path in (ROOT / 'tools').glob('*.py'):
        called = re.findall(r"run_command\('(\w+)'\)", path.read_text())
        name = TOOLS.get(path.stem, path.stem)
        assert called == ([name] if name in dispatch.COMMANDS else []), path.name


def test_command_and_tool_print_the_same(capsys):
    arguments = ('cifar_resnet8', 'cifar_resnet20', '--quiet')
    command = call_main(capsys, 'map', *arguments)
    tool = call_here('weight_map.py', *arguments)
    assert command == (tool.returncode, tool.stdout, tool.stderr) and 'verdict    ' in command[1]


@pytest.mark.parametrize('arguments', [('map', 'a', 'b', 'c'), ('flops', 'resnet18')])
def test_one_config_or_two_names_are_asked_for(capsys, arguments):
    status, _, errors = call_main(capsys, *arguments)
    assert status == 2 and errors.startswith('error: give one config file, which ends with .py, or two timm names')


def test_check_of_an_installed_config_leaves_nothing_behind(capsys):
    status, printed, errors = call_main(
        capsys, 'check', 'motivation::digits/resnet8_resnet20_consecutive.py', '--cfg-options',
        'train_dataloader.num_batch_per_epoch=2', 'default_hooks.compute_meter=None',
    )  # fmt: skip
    assert (status, errors) == (0, '') and 'base trained on a batch' in printed
    assert list(Path().iterdir()) == []
    assert Path(DIGITS).is_file()


@pytest.mark.parametrize('option', [('--work-dir', 'run'), ('--resume',), ('--allow-changes',)])
def test_options_that_a_check_would_ignore_are_refused(capsys, option):
    status, _, errors = call_main(capsys, 'train', DIGITS, '--check', *option)
    assert status == 2 and errors.startswith(f'error: {option[0]} changes nothing with --check')
