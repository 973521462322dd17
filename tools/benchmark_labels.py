"""Time the reading of a table of labels, with the check that its images exist."""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from motivation.errors import check_stack, clear_errors

CLASSES, IN_A_FOLDER = 1000, 1000


def main() -> None:
    check_stack()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rows', type=int, default=100_000, metavar='N', help='rows of each table; 100,000 by default')
    rows = parser.parse_args().rows

    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.datasets.label_cells import Columns
    from motivation.datasets.listed_files import ListedFiles

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        paths = [f'{number // IN_A_FOLDER}/{number}.png' for number in range(rows)]
        for path in paths:
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).touch()
        labels = [f'class {number % CLASSES}' for number in range(rows)]
        pairs = list(zip(paths, labels, strict=True))
        tables = {
            'one.csv': 'path,label\n' + ''.join(f'{path},{label}\n' for path, label in pairs),
            'one.jsonl': ''.join(json.dumps({'path': path, 'label': label}) + '\n' for path, label in pairs),
            'several.csv': 'path,label\n' + ''.join(f'{path},{label};class 0\n' for path, label in pairs),
        }
        for name, text in tables.items():
            Path(name).write_text(text)
            begun = time.process_time()
            ListedFiles(name, '.', None, Columns('path', 'label', (), None, ';'), 'several' in name, None, False)
            print(f'{name}: {time.process_time() - begun:.2f} s of one core')
        os.chdir('/')


if __name__ == '__main__':
    with clear_errors():
        main()
