"""Packaging of motivation; what it needs stands in requirements/."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of requirements/<name>.txt that name a package."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith(('#', '-'))]


setup(
    name='motivation',
    version='0.1.0',
    description='Train a small and a large image model in one run that costs less than the large one alone',
    license='Apache-2.0',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    packages=find_packages(include=['motivation', 'motivation.*']),
    python_requires='>=3.10',
    install_requires=requirements('runtime'),
    extras_require={
        'energy': requirements('energy'),
        'export': requirements('export'),
        'loggers': requirements('loggers'),
        'streams': requirements('streams'),
        'tests': [line for name in ('tests', 'energy', 'export', 'loggers', 'streams') for line in requirements(name)],
        'tfds': requirements('tfds'),
    },
)
