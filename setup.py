"""Packaging of motivation; what it needs stands in requirements/."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of requirements/<name>.txt that name a package."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith(('#', '-'))]


class BuildWithConfigs(build_py):
    """Puts the configs into the package, where OpenMMLab's tools have them: ``motivation/.mim/configs``.

    A clone and an editable installation use the folder ``configs`` itself.
    """

    def run(self) -> None:
        """Build the package and copy the configs."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / 'motivation/.mim/configs'
            shutil.rmtree(target, ignore_errors=True)
            for source in sorted((ROOT / 'configs').rglob('*.py')):
                path = target / source.relative_to(ROOT / 'configs')
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, path)


setup(
    name='motivation',
    version='0.1.0',
    description='Train a small and a large image model in one run that costs less than the large one alone',
    license='Apache-2.0',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    packages=find_packages(include=['motivation', 'motivation.*']),
    package_data={'motivation.comparison': ['*.json'], 'motivation.comparison.output': ['*.html', '*.css', '*.js']},
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['motivation = motivation.commands.dispatch:main']},
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'energy': requirements('energy'),
        'export': requirements('export'),
        'html': requirements('html'),
        'loggers': requirements('loggers'),
        'ray': requirements('ray'),
        'slurm': requirements('slurm'),
        'streams': requirements('streams'),
        'tests': [
            line
            for name in ('tests', 'energy', 'export', 'html', 'loggers', 'ray', 'slurm', 'streams')
            for line in requirements(name)
        ],
        'tfds': requirements('tfds'),
    },
)
