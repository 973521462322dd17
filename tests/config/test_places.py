"""Configs that are installed with a package, and bases that name them."""

from pathlib import Path

import pytest

from motivation.config.places import config_file
from motivation.config.read import load_config
from motivation.errors import ConfigError
from tests.conftest import DIGITS, ROOT

INSTALLED = 'motivation::digits/resnet8_resnet20_consecutive.py'


@pytest.fixture
def package(monkeypatch):
    """Another installed package, with configs as OpenMMLab's tools put them there."""
    folder = Path('site/other_package')
    (folder / '.mim/configs/parts').mkdir(parents=True)
    (folder / '__init__.py').write_text('')
    (folder / '.mim/configs/parts/half.py').write_text("_base_ = './whole.py'\nb = dict(y=2)\n")
    (folder / '.mim/configs/parts/whole.py').write_text("a = 1\nb = dict(x=1)\nhere = '{{ fileDirname }}'\n")
    monkeypatch.syspath_prepend(str(folder.parent.resolve()))
    return folder


def test_installed_config_is_the_file_of_that_name():
    assert config_file(INSTALLED).resolve() == Path(DIGITS).resolve()
    named, read = load_config(INSTALLED), load_config(DIGITS)
    assert named._cfg_dict == read._cfg_dict
    assert Path(named.filename).resolve() == Path(DIGITS).resolve()


def test_base_of_a_package_is_found_also_by_a_base_and_files_keep_their_names(package):
    Path('own.py').write_text(
        "_base_ = ['other_package::parts/half.py',\n    'motivation::_base_/default_runtime.py']\nc = 3\n"
    )
    Path('folder').mkdir()
    Path('folder/leaf.py').write_text(
        "_base_ = '../own.py'\nb = dict(z=3)\nwork_dir = 'runs/{{ fileBasenameNoExtension }}'\n"
    )
    config = load_config('folder/leaf.py')
    assert (config.a, config.b, config.c) == (1, dict(x=1, y=2, z=3), 3)
    assert config.work_dir == 'runs/leaf' and config.filename == 'folder/leaf.py'
    assert Path(config.here).resolve() == (package / '.mim/configs/parts').resolve()
    assert config.default_scope == 'motivation'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('motivation::digits/resnet8_resnet20_consecutiv.py', r"did you mean 'motivation::digits/resnet8_resnet20_con"),
        ('motivation::@', r'there is motivation::cifar10/'),
        ('no_such_package::a/b.py', "'no_such_package', which is not installed with configs"),
        ('json::a/b.py', "'json', which is not installed with configs"),
    ],
)
def test_unknown_installed_config_is_refused_with_what_there_is(name, message):
    with pytest.raises(ConfigError, match=message):
        load_config(name)
    Path('leaf.py').write_text(f'_base_ = {name!r}\n')
    with pytest.raises(ConfigError, match=message):
        load_config('leaf.py')


def test_line_of_a_mistake_is_that_of_the_file():
    Path('leaf.py').write_text(f"_base_ = (\n    '{INSTALLED[:20]}'\n    '{INSTALLED[20:]}')\n\nx = 1\ny = x.no\n")
    with pytest.raises(ConfigError, match=r"config 'leaf\.py' does not parse: AttributeError"):
        load_config('leaf.py')
    Path('leaf.py').write_text(f"_base_ = '{INSTALLED}'\nx = = 1\n")
    with pytest.raises(ConfigError, match=r'does not parse: SyntaxError: .*\(line 2\)'):
        load_config('leaf.py')


def test_every_config_of_the_repository_has_an_installed_name():
    for path in (ROOT / 'configs').rglob('*.py'):
        name = f'motivation::{path.relative_to(ROOT / "configs").as_posix()}'
        assert config_file(name).resolve() == path.resolve()
