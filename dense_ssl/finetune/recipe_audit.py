"""What in a downstream config silently costs accuracy after pre-training."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from torch import nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from dense_ssl.config_tree import walk

_MEAN = (123.675, 116.28, 103.53)


@dataclass(frozen=True)
class Finding:
    """One remark on a recipe.

    Attributes:
        text: What is so, and the remedy.
        costs: Whether it costs accuracy; otherwise it is a note.
    """

    text: str
    costs: bool = True

    def __str__(self) -> str:
        return ('problem: ' if self.costs else 'note: ') + self.text


def inspect_recipe(cfg: Config, model: nn.Module, distributed: bool = True) -> list[Finding]:
    """Compare a recipe with what the papers fine-tune by.

    Args:
        cfg: A complete mmdet, mmseg or mmpretrain config.
        model: The model built from it.
        distributed: Whether several processes will train.

    Returns:
        The findings; none for the configs of this project.
    """
    findings = [*_backbone(model), *_input(cfg), *_remote_weights(cfg), *_schedule(cfg)]
    if distributed and not _synchronised(cfg, model):
        findings.append(
            Finding(
                'batch normalisation is not synchronised between processes, '
                "though each sees few images: set sync_bn='torch'."
            )
        )
    if cfg.get('default_scope') == 'mmdet' and _decays_norms(cfg, model):
        findings.append(
            Finding(
                'the norm layers are decayed, which detectron2 does not: set '
                'optim_wrapper.paramwise_cfg=dict(norm_decay_mult=0.).'
            )
        )
    return findings


def inspect_batch(cfg: Config, processes: int) -> list[Finding]:
    """Compare the images of a step with those that the recipe is for.

    Args:
        cfg: A complete mmdet, mmseg or mmpretrain config.
        processes: How many will train.
    """
    findings = []
    loader = cfg.get('train_dataloader') or {}
    images = processes * loader.get('batch_size', 1)
    scale = cfg.get('auto_scale_lr') or {}
    meant = scale.get('base_batch_size')
    if meant and images != meant and not scale.get('enable'):
        findings.append(
            Finding(
                f'a step has {images} images, the learning rate is for {meant}: '
                '--auto-scale-lr adapts it.',
                False,
            )
        )
    if images == 1:
        findings.append(
            Finding(
                'batch normalisation would see one image at a time: set '
                'train_dataloader.batch_size to 2 or more.'
            )
        )
    return findings


def _is_probe(model: Any) -> bool:
    """Whether the whole backbone is frozen: on purpose, then."""
    return all(not p.requires_grad for p in model.backbone.parameters())


def _has_linear_head(model: nn.Module) -> bool:
    head = getattr(model, 'decode_head', None) or getattr(model, 'head', None)
    return type(head).__name__ in ('LinearHead', 'LinearClsHead')


def _backbone(model: Any) -> Iterator[Finding]:
    backbone = model.backbone
    # Stages are frozen by `train`.
    model.train()
    if _is_probe(model):
        if _has_linear_head(model):
            yield Finding('the backbone is frozen: a linear probe.', False)
        else:
            yield Finding(
                'the whole backbone is frozen, and the head is '
                'more than a linear probe: set '
                'model.backbone.frozen_stages=-1.'
            )
        if any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm)):
            yield Finding(
                'the frozen backbone goes on to move its norm '
                'statistics: set model.backbone.norm_eval=True.'
            )
    else:
        frozen = getattr(backbone, 'frozen_stages', -1)
        if frozen >= 0:
            yield Finding(
                f'the stem and {frozen} stages of the backbone are frozen: '
                'set model.backbone.frozen_stages=-1.'
            )
        for name, part in (('backbone', backbone), ('roi_head.shared_head', _shared_head(model))):
            if part is None:
                continue
            if getattr(part, 'norm_eval', False):
                yield Finding(
                    f'the norms of the {name} keep the statistics of '
                    f'pre-training: set model.{name}.norm_eval=False.'
                )
            if any(
                not p.requires_grad
                for m in _last_stage(part).modules()
                if isinstance(m, _BatchNorm)
                for p in m.parameters()
            ):
                yield Finding(
                    f'scale and shift of norms of the {name} are not '
                    f"trained: set model.{name}.norm_cfg=dict(type='BN', "
                    'requires_grad=True).'
                )
    styles = {m.style for m in model.modules() if isinstance(getattr(m, 'style', None), str)}
    if 'caffe' in styles:
        yield Finding(
            "the model has Caffe's ResNet (stride in the first convolution of "
            "a block): set style='pytorch' in model.backbone and in "
            'model.roi_head.shared_head.'
        )


def _last_stage(part: nn.Module) -> nn.Module:
    """The stage that is frozen last."""
    names = getattr(part, 'res_layers', None)
    return getattr(part, names[-1]) if names else part


def _shared_head(model: nn.Module):
    return getattr(getattr(model, 'roi_head', None), 'shared_head', None)


def _input(cfg: Config) -> Iterator[Finding]:
    if cfg.get('channels', 3) != 3:  # mean and deviation are the checkpoint's
        return
    own = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if not own.get('bgr_to_rgb', own.get('to_rgb', False)):
        yield Finding(
            'the model sees BGR images, pre-training sees RGB: set '
            'model.data_preprocessor.bgr_to_rgb=True (and mean and '
            'std in that order).'
        )
    mean = own.get('mean')
    if mean is None or any(abs(a - b) > 0.1 for a, b in zip(mean, _MEAN)):
        yield Finding(
            f'images are normalised by mean {mean}, pre-training '
            f'uses {list(_MEAN)} (RGB): set mean and std of '
            'model.data_preprocessor.'
        )


def _remote_weights(cfg: Config) -> Iterator[Finding]:
    for path, value in walk(cfg.model.to_dict(), 'model'):
        if isinstance(value, str) and '://' in value:
            yield Finding(
                f'{path}={value} would load other weights over the '
                "checkpoint's, or under them: set it to None."
            )
    if '://' in (cfg.get('load_from') or ''):
        yield Finding(
            f'load_from={cfg.load_from} would load a model that is trained already: set it to None.'
        )


def _schedule(cfg: Config) -> Iterator[Finding]:
    if cfg.get('val_dataloader') and not cfg.get('val_evaluator'):
        yield Finding('val_evaluator is missing, nothing would be measured.')
    train = cfg.get('train_cfg') or {}
    schedulers = cfg.get('param_scheduler') or []
    scheduler: Any
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        by_epoch = scheduler.get('by_epoch', True)
        last = train.get('max_epochs' if by_epoch else 'max_iters')
        unit = 'epoch' if by_epoch else 'iteration'
        if last is None:
            yield Finding(f'{scheduler.type} counts in {unit}s, training does not.')
            continue
        for step in scheduler.get('milestones', ()):
            if step >= last:
                yield Finding(
                    f'the learning rate should drop at {unit} {step}, but training ends at {last}.'
                )
        if scheduler.get('end', last) > last:
            yield Finding(
                f'{scheduler.type} would end at {unit} {scheduler.end}, training ends at {last}.'
            )


def _synchronised(cfg: Config, model: nn.Module) -> bool:
    return bool(cfg.get('sync_bn')) or all(
        isinstance(m, SyncBatchNorm)
        for m in model.modules()
        if isinstance(m, _BatchNorm)
        and (m.training or any(p.requires_grad for p in m.parameters()))
    )


def _decays_norms(cfg: Config, model: nn.Module) -> bool:
    wrapper = cfg.get('optim_wrapper') or {}
    decay = (wrapper.get('optimizer') or {}).get('weight_decay', 0)
    factor = (wrapper.get('paramwise_cfg') or {}).get('norm_decay_mult', 1)
    return bool(decay and factor) and any(isinstance(m, _BatchNorm) for m in model.modules())
