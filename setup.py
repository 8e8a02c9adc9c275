"""Packaging. Configs, tools and the model index travel in the wheel as
``dense_ssl/.mim``, where mim and ``dense_ssl::...`` config paths look."""

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
MIM_ITEMS = ('configs', 'tools', 'model-index.yml')
# Beside the package: see dense_ssl/start.py. A half removed installation must not disturb Python.
START = '_dense_ssl_start'
PTH = f'import sys; exec("try:\\n import {START}\\nexcept Exception:\\n pass")\n'


def requirements(*names):
    """The requirement lines of ``requirements/<name>.txt``, in order."""
    lines = []
    for name in names:
        text = (ROOT / 'requirements' / f'{name}.txt').read_text()
        lines += [line.split('#')[0].strip() for line in text.splitlines()]
    return [line for line in lines if line]


def version():
    scope = {}
    exec((ROOT / 'dense_ssl' / 'version.py').read_text(), scope)
    return scope['__version__']


def link_mim():
    """For an editable install: links, so that edits are seen at once."""
    mim = ROOT / 'dense_ssl' / '.mim'
    mim.mkdir(exist_ok=True)
    for item in MIM_ITEMS:
        link = mim / item
        if link.is_dir() and not link.is_symlink():
            shutil.rmtree(link)
        elif link.is_symlink() or link.exists():
            link.unlink()
        try:
            link.symlink_to(os.path.relpath(ROOT / item, mim))
        except OSError:  # Windows without the right to make links
            copy_mim(mim, [item])


def copy_mim(mim, items=MIM_ITEMS):
    for item in items:
        source, target = ROOT / item, mim / item
        if source.is_dir():
            shutil.copytree(
                source,
                target,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns('__pycache__', '*.py[cod]'),
            )
        else:
            shutil.copy2(source, target)


def copy_start(site):
    shutil.copy2(ROOT / 'dense_ssl' / 'start.py', site / f'{START}.py')
    (site / 'dense_ssl.pth').write_text(PTH)


class BuildWithMim(build_py):
    """Copies into the build folder only: the source tree stays as it is."""

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            copy_start(Path(self.get_finalized_command('install').install_lib))
            return
        copy_start(Path(self.build_lib))
        mim = Path(self.build_lib) / 'dense_ssl' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        copy_mim(mim)


class EditableWithMim(editable_wheel):
    def run(self):
        link_mim()
        super().run()


class DevelopWithMim(develop):
    def run(self):
        link_mim()
        super().run()


# The OpenMMLab packages are an extra, not a requirement: they come under two
# families of distribution names, and dense_ssl checks them at import.
mmlab = requirements('torch', 'build', 'mmcv', 'mmlab')
extras = {
    'mmlab': mmlab,
    'optional': requirements('optional'),
    'tests': requirements('tests'),
    'tensorboard': requirements('tensorboard'),
}
extras['all'] = [line for lines in extras.values() for line in lines]

setup(
    name='dense_ssl',
    version=version(),
    description='Dense self-supervised pre-training for OpenMMLab',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['dense_ssl', 'dense_ssl.*']),
    package_data={'': ['*.jinja']},
    python_requires='>=3.9',
    install_requires=requirements('runtime'),
    extras_require=extras,
    cmdclass=dict(build_py=BuildWithMim, editable_wheel=EditableWithMim, develop=DevelopWithMim),
    zip_safe=False,
)
