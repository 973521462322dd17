"""A finished run that many tests resume."""

import shutil

import pytest

from tests.conftest import tiny_config, train


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """Two epochs with learning rate 0.05, momentum 0.9 and a cosine over 40 epochs."""
    folder = tmp_path_factory.mktemp('finished') / 'run'
    train(tiny_config(folder))
    return folder


@pytest.fixture
def run_folder(finished):
    """A copy of the finished run in the folder ``run``."""
    shutil.copytree(finished, 'run')
