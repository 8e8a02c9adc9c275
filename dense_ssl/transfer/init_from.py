"""Starting pre-training from weights that exist already."""

import argparse
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Any, Union

from mmengine.config import Config
from mmengine.hooks import Hook
from torch import Tensor, nn

from dense_ssl.errors import TransferError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

from .importers import import_file
from .loading_report import TransferReport
from .plan import parse_parts
from .strict_loading import Part, match_parts


def add_init_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of tools/train.py."""
    parser.add_argument(
        '--init-from',
        metavar='FILE',
        help='start from these weights: our own, supervised, or released '
        'ones of a known layout (see tools/convert/import_checkpoint.py); '
        'not used where a run is resumed',
    )
    parser.add_argument(
        '--init-parts',
        metavar='A,B',
        help='networks to fill, e.g. backbone,neck; by default all that the file has',
    )


def merge_init_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Add the hook that the options ask for, in place.

    Raises:
        TransferError: The file does not exist, --init-parts is alone, or
            the config loads another file.
    """
    if args.init_from is None:
        if args.init_parts:
            raise TransferError('--init-parts needs --init-from.')
        return
    if cfg.get('load_from') and not cfg.get('resume'):
        raise TransferError(
            f'both --init-from ({args.init_from}) and load_from '
            f'({cfg.load_from}) were given: choose one.'
        )
    if not osp.isfile(args.init_from):
        raise TransferError(f'--init-from {args.init_from}: no such file.')
    cfg.custom_hooks = list(cfg.get('custom_hooks') or []) + [
        dict(
            type='dense_ssl.transfer.init_from.InitFromHook',
            checkpoint=osp.abspath(args.init_from),
            parts=args.init_parts and parse_parts(args.init_parts),
        )
    ]


@HOOKS.register_module()
class InitFromHook(Hook):
    """Fill an algorithm from a file of any known layout before it trains.

    The backbone must be in the file. A projector, neck or predictor is filled
    where the file has one of the same names, and then completely. What the
    file has of the momentum copy goes there; the rest of the copy starts
    equal to the online networks. Queues start anew. A resumed run keeps the
    weights of its own checkpoint.

    Args:
        checkpoint: See :func:`dense_ssl.transfer.importers.import_file`.
        parts: Names of the networks to fill, ``backbone`` among them, also
            as one text; by default (``'auto'``) all that the file has.

    Raises:
        TransferError: Before the first step, with a diff; the model is then
            untouched.
    """

    priority = 'HIGH'

    def __init__(self, checkpoint: str, parts: Union[str, Sequence[str], None] = None) -> None:
        self.checkpoint = checkpoint
        self.parts = parts
        self._loaded_from_run = False

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded_from_run = True

    def before_train(self, runner) -> None:
        if self._loaded_from_run:
            return
        report = init_from(bare(runner.model), self.checkpoint, self.parts)
        runner.logger.info(f'Starting from {self.checkpoint}:\n{report}')


def init_from(
    model: nn.Module, checkpoint: str, parts: Union[str, Sequence[str], None] = None
) -> TransferReport:
    """Fill ``model``, a method of this project, from a file.

    Raises:
        TransferError: See :class:`InitFromHook`.
    """
    weights = import_file(checkpoint).state_dict
    try:
        online, copy = _match(model, weights, parts)
    except TransferError as error:
        raise TransferError(
            f'--init-from {checkpoint}: {error}\nTo start from its backbone '
            'only, add --init-parts backbone.'
        ) from error
    report = online.apply()
    momentum: Any = getattr(model, 'momentum_encoder', None)
    if momentum is not None:
        momentum.copy_online()
    if copy is not None:
        report.parts += copy.apply().parts
        # Or MomentumScheduleHook would make it equal to the online networks.
        momentum.restored = True
    return report


def _match(model: nn.Module, weights: Mapping[str, Tensor], parts: Union[str, Sequence[str], None]):
    """Checked transfers into the online networks and into their copy."""
    target = model.state_dict()
    names = _networks(target)
    parts = parse_parts(parts) if isinstance(parts, str) else parts
    parts = None if parts == 'auto' else parts
    if parts and (set(parts) - set(names) or 'backbone' not in parts):
        raise TransferError(
            f'parts must be names out of {names}, the backbone among them; got {list(parts)}.'
        )
    online, copy = [], []
    for name in parts or names:
        # Another method's network of the same name shares no keys.
        if parts or name == 'backbone' or _shared(target, weights, name):
            online.append(Part(f'{name}.', f'{name}.', name))
        name = f'momentum_encoder.{name}'
        if _shared(target, weights, name):
            copy.append(Part(f'{name}.', f'{name}.', name))
    return (
        match_parts(model, weights, online),
        match_parts(model, weights, copy) if copy else None,
    )


def _shared(target: Mapping, weights: Mapping, name: str) -> bool:
    return any(key.startswith(f'{name}.') and key in target for key in weights)


def _networks(target: Mapping[str, Tensor]) -> list[str]:
    """Names of a method's networks: all but queues and copies."""
    heads: dict[str, None] = dict.fromkeys(key.split('.')[0] for key in target)
    return [name for name in heads if name != 'momentum_encoder' and not name.endswith('queue')]
