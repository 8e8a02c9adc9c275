"""What a new length of training does to the rest of a config: one rule for all of them."""

from typing import Optional

from mmengine.config import Config

from dense_ssl.config_tree import type_name
from dense_ssl.errors import UserError

__all__ = ['set_length']

_WARM_UPS = ('LinearLR', 'ConstantLR')


def set_length(cfg: Config, epochs: Optional[int] = None, iters: Optional[int] = None) -> None:
    """Train for so many epochs or iterations, in place.

    - A schedule that ended with training ends with it; decay and steps keep
      their place in relation to the whole.
    - A warm-up keeps its length, but takes at most a tenth of the training.
    - Validation and checkpoints come at least once, at the end. Of a run that
      counts iterations the log has ten lines at least, and precise norm
      statistics are taken of a twentieth, or not at all where that is too few.

    Schedules that count in another unit than training shrink with it, and do
    not grow.

    Args:
        cfg: Any mmengine config.
        epochs: New ``train_cfg.max_epochs``.
        iters: New ``train_cfg.max_iters``.

    Raises:
        UserError: Not positive, or the config counts in the other unit.
    """
    unit, new = ('epochs', epochs) if epochs is not None else ('iters', iters)
    train = cfg.get('train_cfg') or {}
    if not isinstance(new, int) or new < 1:
        raise UserError(f'--{unit} must be a whole number, 1 or more, got {new}.')
    old = train.get(f'max_{unit}')
    if not old:
        other = 'iters' if unit == 'epochs' else 'epochs'
        counts = 'iterations' if unit == 'epochs' else 'epochs'
        raise UserError(f'{cfg.filename} counts {counts}: say --{other} instead of --{unit}.')
    train[f'max_{unit}'] = new
    # mmengine's default unit is the epoch
    fitting = [s for s in _schedulers(cfg) if s.get('by_epoch', True) == (unit == 'epochs')]
    others = [s for s in _schedulers(cfg) if s not in fitting]
    warm_ups = {s['end'] for s in fitting if _is_warm_up(s, old)}
    for scheduler in fitting:
        _fit(scheduler, old, new, warm_ups)
    for scheduler in others if new < old else ():
        for key in ('begin', 'end'):
            if scheduler.get(key):
                scheduler[key] = max(key == 'end', round(scheduler[key] * new / old))
    _intervals(cfg, unit, new)


def whole_cosines(cfg: Config) -> list[bool]:
    """Of each schedule, whether its ``T_max`` is its whole length."""
    return [
        'T_max' in s and s['T_max'] == s.get('end', 0) - s.get('begin', 0) for s in _schedulers(cfg)
    ]


def fit_cosines(cfg: Config, whole: list[bool], options: dict) -> None:
    """Let ``T_max`` follow a begin or end that options changed, in place.

    Args:
        cfg: With the options merged.
        whole: :func:`whole_cosines` of before.
        options: Dotted keys; a ``T_max`` among them stays.
    """
    schedulers = _schedulers(cfg)
    if len(whole) != len(schedulers) or 'param_scheduler' in options:
        return
    for i, (s, was_whole) in enumerate(zip(schedulers, whole)):
        if was_whole and f'param_scheduler.{i}.T_max' not in options:
            s['T_max'] = s['end'] - s.get('begin', 0)


def _schedulers(cfg: Config) -> list:
    """All of them, also of several optimisers."""
    found = cfg.get('param_scheduler') or []
    if isinstance(found, dict):
        found = [found] if 'type' in found else list(found.values())
    return [s for each in found for s in (each if isinstance(each, list) else [each])]


def _is_warm_up(s: dict, length: int) -> bool:
    return type_name(s) in _WARM_UPS and not s.get('begin') and s.get('end', length) < length


def _fit(s: dict, old: int, new: int, warm_ups: set) -> None:
    """One schedule of a training of ``old`` in one of ``new``."""
    by_epoch = s.get('by_epoch', True)

    def moved(at, exactly=False, least=0):
        if at in warm_ups and at > new / 10:
            return new / 10 if by_epoch else max(least, new // 10)
        if at in warm_ups or at == old:
            return min(at, new) if at != old else new
        return at * new / old if exactly else round(at * new / old)

    begin, end = s.get('begin', 0), s.get('end', old)
    to = [moved(begin), moved(end, least=1)]
    if to[0] >= to[1]:  # rounded to nothing
        to = [moved(begin, exactly=by_epoch), moved(end, exactly=by_epoch)]
    s.update({k: v for k, v in zip(('begin', 'end'), to) if k in s})
    if any(isinstance(v, float) for v in to):  # parts of an epoch
        s['convert_to_iter_based'] = True
    if 'T_max' in s:
        whole = s['T_max'] == end - begin
        s['T_max'] = to[1] - to[0] if whole else moved(s['T_max'])
    if 'milestones' in s:  # none before the first update
        s['milestones'] = [m for m in (at * new // old for at in s['milestones']) if m]


def _intervals(cfg: Config, unit: str, new: int) -> None:
    train, hooks = cfg.train_cfg, cfg.get('default_hooks') or {}
    if 'val_interval' in train:
        train['val_interval'] = min(train['val_interval'], new)
    checkpoint = hooks.get('checkpoint') or {}
    if checkpoint.get('by_epoch', True) == (unit == 'epochs') and checkpoint.get('interval'):
        checkpoint['interval'] = min(checkpoint['interval'], new)
    if unit == 'epochs':
        return
    if hooks.get('logger'):
        hooks['logger']['interval'] = max(1, min(hooks['logger'].get('interval', 50), new // 10))
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook).endswith('PreciseBatchNormHook'):
            # A twentieth of the run; of fewer than 20 the running average is better.
            count = min(hook['iterations'], new // 20)
            hook['iterations'] = count if count >= 20 else 0
