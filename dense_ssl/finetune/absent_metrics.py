"""Metrics that need a package which is not installed."""

import importlib.util

from mmengine.config import Config
from mmengine.logging import print_log

from dense_ssl.config_tree import type_name
from dense_ssl.errors import TransferError

#: Package by the metric's type.
NEEDS = {'CityScapesMetric': 'cityscapesscripts'}


def leave_out_absent_metrics(cfg: Config) -> None:
    """Take metrics out of ``cfg`` whose package is absent, and say so.

    mmdet would stop when it builds the evaluator. The figures of the other
    metrics are the same without.

    Raises:
        TransferError: No metric would be left.
    """
    noted = set()
    for name in ('val_evaluator', 'test_evaluator'):
        given = cfg.get(name) or []
        given = given if isinstance(given, list) else [given]
        absent = {type_name(e) for e in given if _is_absent(type_name(e))}
        if not absent:
            continue
        kept = [e for e in given if type_name(e) not in absent]
        if not kept:
            raise TransferError(f'{name}: {_needed(absent)}, and there is no other metric.')
        cfg[name] = kept
        noted |= absent
    if noted:
        print_log(f'Left out: {_needed(noted)}.', 'current')


def _is_absent(metric: str) -> bool:
    return metric in NEEDS and importlib.util.find_spec(NEEDS[metric]) is None


def _needed(metrics: set[str]) -> str:
    return ', '.join(
        f'{metric}, which needs {NEEDS[metric]} (not installed)' for metric in sorted(metrics)
    )
