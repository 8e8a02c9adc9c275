"""A runner that prepares the model for speed before it is distributed."""

from contextlib import contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Optional

import torch
from mmengine.dist import broadcast
from mmengine.runner import Runner
from torch import nn
from torch.utils.checkpoint import checkpoint

from dense_ssl.errors import UserError
from dense_ssl.registry import RUNNERS

__all__ = ['FastRunner', 'checkpoint_activations', 'checkpointed_stages']


@RUNNERS.register_module()
class FastRunner(Runner):
    """mmengine's runner that also reads ``speed`` from the config.

    ``speed = dict(channels_last=True, compile=True, checkpoint=[...])``, all
    optional:

    - channels_last: weights, and with them all maps, are laid out channel by
      channel of each pixel, which a GPU's tensor cores want.
    - compile: torch.compile the backbones, online and momentum, in place.
      The rest of a step is small and full of what a compiler cannot follow
      (queues, communication).
    - checkpoint: names of modules whose activations are computed again in
      the backward pass, see :func:`checkpoint_activations`.

    All need to happen before the model is wrapped for several processes.
    """

    def wrap_model(self, model_wrapper_cfg: Optional[dict], model: nn.Module) -> nn.Module:
        """Prepare, then wrap as the original does.

        Raises:
            UserError: Options that exclude each other.
        """
        speed = self.cfg.get('speed') or {}
        if speed.get('compile') and speed.get('checkpoint'):
            # The compiler wants another kind of context for recomputation.
            raise UserError(
                'speed.compile and speed.checkpoint (--compile and '
                '--checkpoint-activations) do not work together: leave one '
                'of them out'
            )
        if speed.get('channels_last'):
            # Before the layout changes, or the same seed would give other
            # weights: random numbers are filled in in memory order.
            model.init_weights()
            model.to(memory_format=torch.channels_last)
        for name in speed.get('checkpoint') or ():
            checkpoint_activations(attrgetter(name)(model))
        if speed.get('compile'):
            for backbone in _backbones(model):
                backbone.compile()
        return super().wrap_model(model_wrapper_cfg, model)

    def _init_model_weights(self) -> None:
        speed = self.cfg.get('speed') or {}
        if not speed.get('channels_last'):
            super()._init_model_weights()
            return
        # Done already, and weights are sent by DDP; queues are not.
        for buffer in self.model.buffers():
            broadcast(buffer.data)


def checkpoint_activations(module: nn.Module) -> None:
    """Keep only the inputs of ``module``, compute the rest again (in place).

    mmengine's ``activation_checkpointing`` does not do here: its reentrant
    form gives a backbone no gradient, since images require none, and batch
    norm's running statistics would move twice a step.
    """

    @contextmanager
    def again():
        # Looked up now: distributed training exchanges norms for SyncBN.
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
        momenta = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 0.0
        try:
            yield
        finally:
            for m, momentum in zip(norms, momenta):
                m.momentum = momentum

    module.forward = partial(
        checkpoint, module.forward, use_reentrant=False, context_fn=lambda: (nullcontext(), again())
    )


def _backbones(model: nn.Module) -> list[nn.Module]:
    owners = (model, getattr(model, 'momentum_encoder', None))
    return [o.backbone for o in owners if hasattr(o, 'backbone')]


def checkpointed_stages(backbone: dict) -> list[str]:
    """Modules whose activations are worth recomputing: a ResNet's stages.

    Raises:
        UserError: The backbone is no ResNet.
    """
    kind = str(backbone.get('type', ''))
    if 'ResNet' not in kind and 'ResNeXt' not in kind:
        raise UserError(
            f'--checkpoint-activations knows ResNets only, not {kind}: name '
            "the modules in the config, runner_type='dense_ssl.FastRunner', "
            "speed=dict(checkpoint=['backbone.stages'])"
        )
    stages = backbone.get('num_stages', 4)
    return [f'backbone.layer{i + 1}' for i in range(stages)]
