"""Batch norm needs a batch."""

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from dense_ssl.errors import UserError
from dense_ssl.registry import HOOKS


@HOOKS.register_module()
class BatchNormCheckHook(Hook):
    """End a run whose batch norms would see one image at a time."""

    def before_run(self, runner) -> None:
        """Compare the batch size of a process with the model's norms."""
        batch_size = getattr(runner.train_loop.dataloader, 'batch_size', None)
        if batch_size != 1:
            return
        for name, module in runner.model.named_modules():
            shared = isinstance(module, SyncBatchNorm) and get_world_size() > 1
            if isinstance(module, _BatchNorm) and not shared:
                raise UserError(
                    'train_dataloader.batch_size=1 leaves batch norm '
                    f'({name}) without a batch: use at least 2 images per '
                    "process, or sync_bn='torch' on several GPUs"
                )
