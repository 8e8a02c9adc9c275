"""What a study compares: random weights, methods, checkpoints, and methods started from one."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from dense_ssl.errors import MissingFile, UserError
from dense_ssl.transfer.diagnosis import resnet_depth
from dense_ssl.transfer.importers import import_file, read_any
from dense_ssl.transfer.importers.files import file_hash
from dense_ssl.transfer.keys import below

from .budget import Budget

__all__ = ['RANDOM', 'RECIPES', 'Start', 'check_weights', 'read_starts']

RANDOM = 'random'
RECIPES = {
    name: f'configs/{folder}/{name}_resnet50_1xb64-coslr-20k_small.py'
    for name, folder in {
        'mocov2': 'densecl',
        'densecl': 'densecl',
        'densecl-geometric': 'densecl',
        'pixcontrast': 'pixpro',
        'pixpro': 'pixpro',
        'mcl': 'mcl',
    }.items()
}
#: In place of these where a method starts from weights.
WARM = dict(densecl='configs/densecl/densecl-warm_resnet50_1xb64-coslr-10k_small.py')
_WEIGHTS = ('.pth', '.pt', '.pkl', '.tar', '.safetensors', '.ckpt')


@dataclass
class Start:
    """A way to begin fine-tuning.

    Attributes:
        name: In tables, and of folders.
        config: Pre-training config of a method; None for random weights and files.
        file: The checkpoint, or the weights that the method starts from.
        options: ``key=value`` words for the config.
        recipe, weights: Digests of the config and the file.
    """

    name: str
    config: Optional[str] = None
    file: Optional[str] = None
    options: list[str] = field(default_factory=list)
    recipe: Optional[str] = None
    weights: Optional[str] = None

    @property
    def slug(self) -> str:
        return re.sub(r'[^\w.+-]+', '_', self.name)

    def settings(self) -> dict:
        """What a run with the same name must share (JSON data)."""
        return dict(
            config=self.config,
            weights=self.weights,
            options=self.options,
            recipe=self.recipe,
        )


def read_starts(
    words: Sequence[str], settings: Sequence[str] = (), init_from: Optional[Path] = None
) -> list[Start]:
    """What ``--methods``, ``--set`` and ``--init-from`` say.

    Raises:
        UserError: Names the word, and the nearest one that is known.
    """
    starts = [_read(word, init_from) for word in words]
    for attribute in ('name', 'slug'):
        names = [getattr(start, attribute) for start in starts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise UserError(
                f'--methods has {twice} twice: METHOD:NAME makes a variant of a method; files need '
                'different names.'
            )
    for setting in settings:
        _set(starts, setting)
    return starts


def _read(word: str, init_from: Optional[Path]) -> Start:
    if word == RANDOM:
        return Start(RANDOM)
    if Path(word).is_file() and not word.endswith('.py'):
        return Start(Path(word).stem, file=str(Path(word).absolute()), weights=file_hash(word))
    named, plus, weights = word.partition('+')
    method, _, _ = named.partition(':')
    if method in RECIPES:
        name, config = named, RECIPES[method]
    elif method.endswith('.py'):
        if not Path(method).is_file():
            raise MissingFile(f'--methods {word}: no config file {method}.')
        name, config = Path(method).stem + named[len(method) :], str(Path(method).absolute())
    elif word.endswith(_WEIGHTS) or '/' in word:
        raise MissingFile(f'--methods {word}: no such file.')
    else:
        near = difflib.get_close_matches(method, [RANDOM, *RECIPES], n=1)
        raise UserError(
            f'--methods {word}: no such method.'
            + (f' Did you mean {near[0]}?' if near else '')
            + f' There are {RANDOM}, {", ".join(RECIPES)}, config files and checkpoint files.'
        )
    file = Path(weights) if plus else init_from
    if file is None:
        return Start(name, config)
    if not file.is_file():
        raise MissingFile(f'{"--methods " + word if plus else "--init-from"}: no file {file}.')
    config = WARM.get(method, config)
    return Start(f'{name}+{file.stem}', config, str(file.absolute()), weights=file_hash(str(file)))


def _set(starts: Sequence[Start], setting: str) -> None:
    """Give a ``START.KEY=VALUE`` to its start; METHOD+FILE may be called METHOD."""
    methods = {start.name: start for start in starts if start.config}
    for whole in (True, False):
        names = {name if whole else name.partition('+')[0] for name in methods}
        fitting = [name for name in names if setting.startswith(f'{name}.')]
        if fitting and '=' in setting:
            called = max(fitting, key=len)
            for name, start in methods.items():
                if called == (name if whole else name.partition('+')[0]):
                    start.options.append(setting[len(called) + 1 :])
            return
    near = difflib.get_close_matches(setting.partition('.')[0], methods, n=1)
    raise UserError(
        f'--set {setting}: START.KEY=VALUE is needed, with one of the methods that are pre-trained '
        f'({", ".join(methods) or "none"}).' + (f' Did you mean {near[0]}?' if near else '')
    )


def check_weights(start: Start, budget: Budget) -> None:
    """Refuse weights of another network than the study's, before anything is trained.

    Raises:
        UserError: Says which network the file holds, or that it has other names.
    """
    if not start.file:
        return
    read = import_file if start.config else read_any  # --init-from knows other layouts
    backbone = below(read(start.file).state_dict, 'backbone.')
    if not backbone:
        raise UserError(
            f'{start.file} has no weights named backbone.*: bring it into this form by '
            'tools/convert/import_checkpoint.py.'
        )
    depth = resnet_depth(backbone)
    stem = backbone.get('conv1.weight')
    width = None if stem is None else len(stem)
    for what, found, wanted, option in (
        ('depth', depth, budget.depth, '--depth'),
        ('base channels', width, budget.base_channels, '--base-channels'),
    ):
        if found not in (None, wanted):
            raise UserError(
                f'{start.file} holds a ResNet of {what} {found}, the study compares {what} '
                f'{wanted} (--budget {budget.name}): give {option} {found}, or another file.'
            )
