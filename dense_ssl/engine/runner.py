"""The project's one runner: mmengine's, with what must hold wherever a run is started from."""

import copy
from contextlib import contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any, Optional

import torch
from mmengine.config import Config
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmengine.utils import apply_to
from mmpretrain.models import BaseSelfSupervisor
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from dense_ssl.errors import UserError
from dense_ssl.modules import bare
from dense_ssl.registry import HOOKS, RUNNERS
from dense_ssl.transfer.checkpoint import guard_mmengine

from .checkpoint_check import MODULE, StartingPoint
from .device_color import place_colors
from .hooks.stop_signal_hook import Signals, outliving
from .log_history import bound_history, restore_history
from .processes import join_process_group, settle_processes
from .progress import follow_epochs, step_of
from .saving import BACKEND, keep_until_saved
from .value_check import check_values
from .work_folder import claim, make_room

__all__ = ['DenseRunner', 'checkpoint_activations', 'checkpointed_stages']


@RUNNERS.register_module(name=['DenseRunner', 'FastRunner'])
class DenseRunner(Runner):
    """mmengine's runner for pre-training and fine-tuning alike.

    ``Runner.from_cfg`` of mmengine makes one of any config whose ``runner_type`` or
    ``default_scope`` is dense_ssl's. On top of mmengine's it

    - refuses numbers that make no sense, see :func:`check_values`;
    - settles backend and batch norm for the devices at hand, see :func:`settle_processes`;
    - loads ``load_from`` and resumes strictly: a file that does not fit the model ends the run
      before a data set is opened, with a readable difference (:class:`StartingPoint`);
    - gives pre-training the hooks it cannot do without, whatever ``custom_hooks`` lists;
    - reads ``speed`` from the config, all keys optional:

      - channels_last: weights, and with them all maps, are laid out channel by channel of each
        pixel, which a GPU's tensor cores want.
      - compile: torch.compile the backbones, online and momentum, in place. The rest of a step
        is small and full of what a compiler cannot follow (queues, communication).
      - checkpoint: names of modules whose activations are computed again in the backward pass,
        see :func:`checkpoint_activations`.
      - colors: 'device' or 'workers', where views get their colors changed, see
        :func:`place_colors`.
    """

    def __init__(self, *args, **kwargs) -> None:
        guard_mmengine()
        super().__init__(*args, **kwargs)

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'DenseRunner':
        """Build a runner from a config, which is left as it is."""
        cfg = copy.deepcopy(cfg) if isinstance(cfg, Config) else Config(dict(cfg))
        check_values(cfg)
        notes = settle_processes(cfg)
        join_process_group(cfg)
        place_colors(cfg)
        _complete_loaders(cfg)
        runner = super().from_cfg(cfg)
        for note in notes:
            runner.logger.info(note)
        return runner

    @staticmethod
    def build_dataloader(dataloader, seed=None, diff_rank_seed=False) -> DataLoader:
        """As mmengine's; workers outlive the signals by which the run is told to stop."""
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        return loader if loader is dataloader else outliving(loader)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """Also those that every run or pre-training needs and the config does not list."""
        super().register_hooks(default_hooks, custom_hooks)
        policy = self.cfg.get('non_finite', 'stop')
        self._add_hook('FiniteCheckHook', policy=policy)
        self._add_hook('StopSignalHook', save_every=self.cfg.get('save_every'))
        if not isinstance(bare(self.model), BaseSelfSupervisor):
            return
        # Where workers persist, and the config asks for nothing, that is accepted.
        exact = not (self._train_dataloader or {}).get('persistent_workers', False)
        self._add_hook('FitCheckHook')
        self._add_hook('MomentumUpdateHook')
        self._add_hook('ExactResumeHook', exact=exact)

    def register_hook(self, hook, priority=None) -> None:
        """As mmengine's; a CheckpointHook removes old files after it has saved, not before."""
        super().register_hook(hook, priority)
        for each in self.hooks:
            if isinstance(each, CheckpointHook):
                keep_until_saved(each)

    def save_checkpoint(
        self, out_dir, filename, file_client_args=None, *args, backend_args=None, **kwargs
    ) -> None:
        """As mmengine's; in a local folder the file is there as a whole or not at all."""
        if '://' not in str(out_dir) and not file_client_args and not backend_args:
            backend_args = dict(backend=BACKEND)
        bound_history(self.message_hub, step_of(self)['an_epoch'])
        kwargs['meta'] = {**(kwargs.get('meta') or {}), 'step': step_of(self), **_input(self.model)}
        super().save_checkpoint(
            out_dir, filename, file_client_args, *args, backend_args=backend_args, **kwargs
        )

    def _add_hook(self, name: str, **options) -> None:
        if not any(isinstance(hook, HOOKS.get(name)) for hook in self.hooks):
            self.register_hook(dict(type=f'dense_ssl.{name}', **options))

    def train(self) -> nn.Module:
        """Train, once the checkpoint to start from is known to fit.

        Raises:
            UserError: Another run writes into the work folder; or it holds an earlier run, this
                one does not resume, and the config has ``overwrite=False``.
        """
        with claim(self.work_dir) if is_main_process() else nullcontext():
            if not self._resume and is_main_process():
                make_room(self.work_dir, self.cfg.get('overwrite'))
            self._start = StartingPoint.find(self)
            with Signals() as self.signals:
                return super().train()

    def test(self) -> dict:
        """Test, once the checkpoint is known to fit."""
        self._start = StartingPoint.find(self, testing=True)
        return super().test()

    def load_checkpoint(
        self, filename, map_location='cpu', strict=False, revise_keys=MODULE
    ) -> dict:
        """Load a file that fits the model; the arguments are mmengine's, ``strict`` is always so.

        Raises:
            TransferError: It does not fit; the message has the difference.
        """
        start, self._start = getattr(self, '_start', None), None
        if start is None or (start.path, start.revise_keys) != (filename, list(revise_keys)):
            start = StartingPoint(self, filename, revise_keys=revise_keys)
        self._has_loaded = True
        content = start.load()
        restore_history(content)
        if str(map_location) != 'cpu':
            content = apply_to(content, torch.is_tensor, lambda x: x.to(map_location))
        self._loaded_meta = content.get('meta') or {}
        return content

    def resume(
        self,
        filename,
        resume_optimizer=True,
        resume_param_scheduler=True,
        map_location='cpu',  # optimisers take their state to the device themselves
    ) -> None:
        """As mmengine's; schedules follow the epochs where a step has other images than before."""
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        follow_epochs(self, filename, self._loaded_meta)

    def _build_param_scheduler(self, scheduler, optim_wrapper) -> list:
        """Leave out what is shorter than an iteration: mmengine refuses it."""
        schedulers = scheduler if isinstance(scheduler, list) else [scheduler]
        length = len(self.train_dataloader) if self._counts_epochs(schedulers) else 1
        kept = [
            s
            for s in schedulers
            if not (isinstance(s, dict) and s.get('convert_to_iter_based') and 'end' in s)
            or int(s['end'] * length) > int(s.get('begin', 0) * length)
        ]
        return super()._build_param_scheduler(kept, optim_wrapper)

    @staticmethod
    def _counts_epochs(schedulers: list) -> bool:
        return any(isinstance(s, dict) and s.get('convert_to_iter_based') for s in schedulers)

    def wrap_model(self, model_wrapper_cfg: Optional[dict], model: nn.Module) -> nn.Module:
        """Prepare the model for speed, then wrap it as the original does.

        Raises:
            UserError: Options that exclude each other.
        """
        speed = self.cfg.get('speed') or {}
        if speed.get('compile') and speed.get('checkpoint'):
            # The compiler wants another kind of context for recomputation.
            raise UserError(
                'speed.compile and speed.checkpoint (--compile and '
                '--checkpoint-activations) do not work together: leave one of them out'
            )
        if speed.get('channels_last'):
            # Before the layout changes, or the same seed would give other
            # weights: random numbers are filled in in memory order.
            model.init_weights()  # type: ignore[operator]
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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


def _input(model: nn.Module) -> dict:
    """How a model wants its images, for those who take its weights on."""
    preprocessor: Any = getattr(bare(model), 'data_preprocessor', None)
    if not getattr(preprocessor, '_enable_normalize', False):
        return {}
    return dict(
        normalization={
            key: getattr(preprocessor, key).flatten().tolist() for key in ('mean', 'std')
        }
    )


def _complete_loaders(cfg: Config) -> None:
    """What torch refuses or warns of, in place."""
    for field in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(field)
        if not loader:
            continue
        if loader.get('pin_memory') and not torch.cuda.is_available():
            loader.pin_memory = False
        if loader.get('num_workers', 0) == 0:
            loader.persistent_workers = False
            loader.pop('prefetch_factor', None)


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
        checkpoint,
        module.forward,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), again()),
    )


def _backbones(model: nn.Module) -> list[nn.Module]:
    owners = (model, getattr(model, 'momentum_encoder', None))
    found = (getattr(owner, 'backbone', None) for owner in owners)
    return [backbone for backbone in found if backbone is not None]


def checkpointed_stages(backbone: dict) -> list[str]:
    """Modules whose activations are worth recomputing: a ResNet's stages.

    Raises:
        UserError: The backbone is no ResNet.
    """
    kind = str(backbone.get('type', ''))
    if 'ResNet' not in kind and 'ResNeXt' not in kind:
        raise UserError(
            f'--checkpoint-activations knows ResNets only, not {kind}: name '
            "the modules in the config, speed=dict(checkpoint=['backbone.stages'])"
        )
    return [f'backbone.layer{i + 1}' for i in range(backbone.get('num_stages', 4))]
