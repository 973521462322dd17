"""Uploading exported models to the Hugging Face hub."""

import re
from collections.abc import Sequence
from pathlib import Path

from motivation.errors import ConfigError, TrainingError, reason

_NAME = re.compile(r'[\w.-]+/[\w.-]+')


def check_hub(name: str) -> None:
    """Check, before anything is exported, that models can be uploaded.

    Args:
        name: ``'OWNER/NAME'``.

    Raises:
        ConfigError: It has another form, or nobody is logged in.
    """
    from huggingface_hub import get_token  # takes a second to import, and is needed only here

    if not _NAME.fullmatch(name):
        raise ConfigError(f'--push must be OWNER/NAME, got {name!r}; give your name on the hub and one for the model')
    if get_token() is None:
        raise ConfigError(f"--push {name} needs a login; run 'hf auth login', or set HF_TOKEN")


def push(folder: Path, models: Sequence[str], name: str, private: bool = True) -> list[str]:
    """Upload the folders of exported models, each to a repository, which is created if it is not there.

    Args:
        folder: Their folder.
        models: Their names.
        name: ``'OWNER/NAME'``; of several models each goes to ``'OWNER/NAME-<model>'``.
        private: Whether a new repository is visible to its owner only; one that is there stays as it is. Default: ``True``.

    Returns:
        The address of each repository.

    Raises:
        TrainingError: The upload fails.
    """
    from huggingface_hub import HfApi  # takes a second to import, and is needed only here

    api, addresses = HfApi(), []
    for model in models:
        repository = name if len(models) == 1 else f'{name}-{model.replace("_", "-")}'
        try:
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder / model, ignore_patterns=['*.refused', '.*'])
        except Exception as error:  # of the network, the hub, or the login
            raise TrainingError(
                f"'{folder / model}' is exported, but not uploaded to {repository}: {reason(error)}; correct it, then "
                f"'hf upload {repository} {folder / model}' does"
            ) from error
        addresses.append(str(address))
    return addresses
