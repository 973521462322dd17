"""The files about a cascade: ``cascade.json``, ``cascade.md`` and ``cascade.png``."""

import json
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError
from motivation.evaluation.cascade_result import Cascaded, Latency
from motivation.report.cascade_picture import draw_cascade
from motivation.report.cascade_table import write_markdown
from motivation.utils.files import write_whole
from motivation.utils.new_folders import require_writable

NAMES = ('cascade.json', 'cascade.md', 'cascade.png')


def check_folder(folder: Path, overwrite: bool) -> None:
    """Check that a folder can take the files, before anything is measured.

    Args:
        folder: The folder, which need not exist.
        overwrite: Whether it may hold them already.

    Raises:
        ConfigError: It holds some, cannot be a folder, or cannot be written.
    """
    if any(path.is_file() for path in (folder, *folder.parents)):
        raise ConfigError(f"--out '{folder}' is a file or in one; name a folder")
    present = [name for name in NAMES if (folder / name).exists()]
    if present and not overwrite:
        raise ConfigError(f"'{folder}' already holds {', '.join(present)}; name another --out, or give --overwrite")
    require_writable(folder, 'the folder', '--out', keep=False)


def write_cascade(folder: Path, result: Cascaded, latency: Latency, about: dict[str, Any]) -> list[Path]:
    """Write the three files, each whole or not at all.

    Args:
        folder: The folder.
        result: The cascade.
        latency: Times of both models and of the cascade at equal accuracy.
        about: What it was measured on: ``'run'``, ``'base'`` and ``'motivated'``, names of the models, ``'machine'``,
            and ``'options'``, the fields of its config that were overridden.

    Returns:
        Their paths.
    """
    content = {**about, **result.to_json(), 'latency': latency.to_json()}
    title = f'{about["base"]} in {about["motivated"]}: {result.images:,} images, seed {result.seed}'
    options = ', '.join(f'{field}={value}' for field, value in about.get('options', {}).items())
    sentence = (
        f'Run: {about["run"]}{f" with `{options}`" if options else ""}. Time: mean over {latency.images} validation images of the median of five runs each, '
        f'batch 1, uint8 images to logits, one thread, on {about["machine"]}.'
    )
    folder.mkdir(parents=True, exist_ok=True)
    json_path, md_path, png_path = (folder / name for name in NAMES)
    write_whole(png_path, lambda file: draw_cascade(result, title, file))
    write_whole(md_path, lambda file: file.write(write_markdown(result, latency, sentence).encode()))
    # Last, because Cascade.load reads it: what it finds has its table and picture beside it.
    write_whole(json_path, lambda file: file.write((json.dumps(content, indent=1, default=str) + '\n').encode()))
    return [json_path, md_path, png_path]
