"""Uploading, up to the calls of huggingface_hub."""

from pathlib import Path

import huggingface_hub
import pytest

from motivation.errors import ConfigError, TrainingError
from motivation.export.hub import check_hub, push


class Hub:
    """Stands for the hub, behind ``huggingface_hub.HfApi``."""

    def __init__(self, failure=None):
        self.failure, self.repositories, self.uploads = failure, {}, {}

    def create_repo(self, repo_id, *, private, exist_ok):
        self.repositories.setdefault(repo_id, private)
        return f'https://hub/{repo_id}'

    def upload_folder(self, *, repo_id, folder_path, ignore_patterns):
        if self.failure is not None:
            raise self.failure
        kept = huggingface_hub.utils.filter_repo_objects(
            (path.name for path in Path(folder_path).iterdir()), ignore_patterns=ignore_patterns
        )
        self.uploads[repo_id] = sorted(kept)


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, 'HfApi', lambda: hub)
    return hub


@pytest.fixture
def folder(tmp_path):
    for model in ('base', 'motivated_ema'):
        (tmp_path / model).mkdir()
        for file in ('README.md', 'model.safetensors', 'model.pt2.refused', '.model.onnx.part'):
            (tmp_path / model / file).touch()
    return tmp_path


def test_new_repository_is_private_and_gets_what_was_not_refused(hub, folder):
    assert push(folder, ['base'], 'me/digits') == ['https://hub/me/digits']
    assert hub.repositories == {'me/digits': True}
    assert hub.uploads == {'me/digits': ['README.md', 'model.safetensors']}


def test_each_of_several_models_has_a_repository(hub, folder):
    push(folder, ['base', 'motivated_ema'], 'me/digits', private=False)
    assert hub.repositories == {'me/digits-base': False, 'me/digits-motivated-ema': False}
    assert set(hub.uploads) == set(hub.repositories)


def test_failure_of_the_network_is_one_sentence_that_says_how_to_go_on(hub, folder):
    hub.failure = ConnectionError('name resolution\nfailed')
    with pytest.raises(
        TrainingError, match=r"base' is exported, but not uploaded to me/digits: .*'hf upload"
    ) as failed:
        push(folder, ['base'], 'me/digits')
    assert '\n' not in str(failed.value)


def test_missing_login_is_said_before_the_export(monkeypatch):
    monkeypatch.setattr(huggingface_hub, 'get_token', lambda: None)
    with pytest.raises(ConfigError, match=r"^--push me/digits needs a login; run 'hf auth login', or set HF_TOKEN$"):
        check_hub('me/digits')


def test_name_of_another_form_is_refused():
    with pytest.raises(ConfigError, match=r"^--push must be OWNER/NAME, got 'digits'"):
        check_hub('digits')
