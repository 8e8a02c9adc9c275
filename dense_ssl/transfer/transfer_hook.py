"""Filling a downstream model inside a running mmengine ``Runner``."""

from collections.abc import Sequence
from typing import Any, Optional, Union

from mmengine.hooks import Hook

from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS

from .importers.files import read_any
from .plan import prepare_transfer

#: Resolves in every default scope (mmengine imports dotted paths).
HOOK_TYPE = 'dense_ssl.transfer.PretrainedTransferHook'


@HOOKS.register_module()
class PretrainedTransferHook(Hook):
    """Load pre-trained weights after initialisation, before the first step.

    A resumed run keeps the weights of its own checkpoint. Where the weights
    came from is written into ``meta['transfer']`` of every checkpoint saved.

    Args:
        checkpoint: The pre-training checkpoint, as it is.
        parts: ``'auto'`` or names, see :func:`dense_ssl.transfer.plan_parts`.
        network: ``'online'`` or ``'momentum'``.
        backbone_prefix: Where the backbone lies in a file that is not ours.

    Raises:
        TransferError: Before the first step, with a diff; the model is then
            untouched.
    """

    priority = 'HIGH'

    def __init__(
        self,
        checkpoint: str,
        parts: Union[str, Sequence[str]] = 'auto',
        network: str = 'online',
        backbone_prefix: Optional[str] = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.options: dict[str, Any] = dict(
            parts=parts, network=network, backbone_prefix=backbone_prefix
        )
        self.provenance: Optional[dict] = None
        self._loaded_from_run = False

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        # mmengine calls this for `resume` as well as for `load_from`, and
        # both come after weight initialisation and before `before_train`.
        self._loaded_from_run = True
        self.provenance = checkpoint.get('meta', {}).get('transfer')

    def before_train(self, runner) -> None:
        if self._loaded_from_run:
            runner.logger.info(
                'The run continues from its own checkpoint; pre-trained '
                f'weights of {self.checkpoint} are not loaded again.'
            )
            return
        checkpoint = read_any(self.checkpoint)
        report = prepare_transfer(bare(runner.model), checkpoint, **self.options).apply()
        runner.logger.info(f'Pre-trained weights of {self.checkpoint} loaded:\n{report}')
        self.provenance = dict(
            checkpoint=str(self.checkpoint),
            network=self.options['network'],
            parts=[part.name for part in report.parts],
            pretraining={
                key: checkpoint.meta[key]
                for key in ('experiment_name', 'epoch', 'iter', 'seed', 'time')
                if key in checkpoint.meta
            },
        )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        if self.provenance is not None:
            checkpoint.setdefault('meta', {})['transfer'] = self.provenance
