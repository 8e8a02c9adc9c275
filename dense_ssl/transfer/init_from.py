"""Starting pre-training from weights that exist already."""

from collections.abc import Mapping, Sequence
from typing import Any, Union

from mmengine.hooks import Hook
from torch import Tensor, nn

from dense_ssl.errors import TransferError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

from .importers import import_file
from .loading_report import TransferReport
from .plan import parse_parts
from .strict_loading import Part, match_parts


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
            as one text; None or ``'auto'``: all that the file has.

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
        # Or MomentumUpdateHook would make it equal to the online networks.
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
