"""Whether a run's checkpoint fits its model, before time is spent on it.

mmengine loads what matches and only warns of the rest: a file that does not
fit would be trained on, or tested, with random weights.
"""

import os.path as osp
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Optional

from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import Tensor, nn

from dense_ssl.errors import TransferError
from dense_ssl.models import FeatureQueue
from dense_ssl.modules import bare
from dense_ssl.transfer.checkpoint import read_file
from dense_ssl.transfer.diagnosis import likely_causes, prefixes_with
from dense_ssl.transfer.loading_report import mismatch_details
from dense_ssl.transfer.strict_loading import Part, PartMatch, match_part

from .work_folder import newest_readable

__all__ = ['MODULE', 'StartingPoint']

_BACKBONE = 'backbone.'
#: mmengine's default: files saved from inside a parallel wrapper.
MODULE = ((r'^module\.', ''),)


class StartingPoint:
    """The file that a run loads or resumes from: read once, and fitting.

    Every tensor of the model must be in the file with the same shape, and
    the file must have no others of the model's networks. Networks that the
    model lacks are named in the log, or refused where a run is resumed. A
    queue may have another length: it starts anew. ``num_batches_tracked`` may
    be absent.

    Args:
        runner: Its model is left as it is until :meth:`load`.
        path: The file; of any origin that mmengine knows.
        name: What messages call it.
        resume: Whether the run goes on from there.
        testing: Whether it is the argument of tools/test.py.
        revise_keys: Patterns in its names and what to put there, as mmengine's
            ``load_checkpoint`` takes them.

    Raises:
        TransferError: The file cannot be read or does not fit, or, to resume
            from, lacks the state of a training run.
    """

    def __init__(
        self,
        runner: Runner,
        path: str,
        name: Optional[str] = None,
        resume: bool = False,
        testing: bool = False,
        revise_keys: Sequence[tuple[str, str]] = MODULE,
    ) -> None:
        self.revise_keys = list(revise_keys)
        self.runner, self.path = runner, path
        self.model = bare(runner.model)
        name = name or f'checkpoint {path}'
        content = _read(name, path)
        self.content: Optional[dict] = content
        if resume:
            _check_training_state(name, path, content)
        target, weights = self.model.state_dict(), _weights(content, self.revise_keys)
        spare = {} if resume else _spare(target, weights)
        used = {*target, *(key for key in weights if _network(key) in spare)}
        match = match_part(target, weights, Part('', '', 'model'), used)
        notes = _let_queues_go(self.model, match)
        if match.notes:
            more = f' (and {len(match.notes) - 1} more)' if match.notes[1:] else ''
            notes.append(match.notes[0] + more)
        if not match.ok:
            header = (
                f'{name} does not fit the model: {len(match.pairs)} of its '
                f'{match.total} tensors are in the file with the same shape.'
            )
            details = mismatch_details(match, _causes(target, weights, match))
            raise TransferError('\n'.join([header, *details, _remedy(path, resume, testing)]))
        if spare:
            counts = ', '.join(f'{network} ({count})' for network, count in spare.items())
            notes.append(f'in the file, not used: {counts}')
        for note in notes:
            runner.logger.info(f'{name}: {note}')

    @classmethod
    def find(cls, runner: Runner, testing: bool = False) -> Optional['StartingPoint']:
        """Of a runner not yet started; None where it starts from scratch."""
        resume, path = bool(runner._resume) and not testing, runner._load_from
        if resume and path is None:
            path = runner._load_from = newest_readable(runner.work_dir)
            runner._resume = path is not None  # else mmengine looks for itself
        if path is None:
            return None
        name = f'checkpoint {path}' if testing else f'load_from={path}'
        return cls(runner, path, f'--resume {path}' if resume else name, resume, testing)

    def load(self) -> dict:
        """Fill the model, and return what the file holds."""
        content, self.content = self.content, None
        assert content is not None, 'it is loaded once'
        self.runner.call_hook('after_load_checkpoint', checkpoint=content)
        _load_checkpoint_to_model(self.model, content, revise_keys=self.revise_keys)
        self.runner.logger.info(f'Load checkpoint from {self.path}')
        return content


def _read(name: str, path: str) -> dict:
    """The file, without running code from it; a remote one as mmengine reads it."""
    try:
        if '://' in path:
            content = CheckpointLoader.load_checkpoint(path, 'cpu', 'silent')
        else:
            content = read_file(osp.expanduser(path))
    except TransferError as error:
        raise TransferError(f'{name} cannot be read: {error}') from error
    except Exception as error:  # of whatever loader
        reason = (str(error).splitlines() or [''])[0][:200].rstrip('.')
        raise TransferError(
            f'{name} cannot be read: {type(error).__name__}: {reason}. Name a '
            'checkpoint that training wrote, epoch_N.pth or iter_N.pth in its --work-dir.'
        ) from error
    if not isinstance(content, dict):
        raise TransferError(f'{name} holds a {type(content).__name__}, not a dict of weights.')
    return content


def _check_training_state(name: str, path: str, content: dict) -> None:
    """Raise where mmengine would fail, or start the optimiser anew."""
    meta = content.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    lacking = [f'meta.{key}' for key in ('epoch', 'iter') if key not in meta]
    lacking += [key for key in ('message_hub', 'optimizer') if key not in content]
    if lacking:
        raise TransferError(
            f'{name} is no checkpoint that a run can go on from: it lacks '
            f'{", ".join(lacking)}. To start a new run from its weights, say '
            f'--init-from {path} instead, or --cfg-options load_from={path} '
            'if it holds all of the model.'
        )


def _weights(content: dict, revise_keys: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Tensors by the names under which mmengine would load them."""
    state = content.get('state_dict', content)
    if not isinstance(state, dict):
        return {}
    named = {k: v for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)}
    for pattern, new in revise_keys:
        named = {re.sub(pattern, new, key): value for key, value in named.items()}
    return named


def _network(key: str) -> str:
    """The part of the model that a tensor belongs to."""
    names = key.split('.')
    return '.'.join(names[: 2 if names[0] == 'momentum_encoder' else 1])


def _spare(target: Mapping, weights: Mapping) -> dict[str, int]:
    """Networks that the file alone has, and the number of their tensors."""
    known = {_network(key) for key in target}
    return Counter(n for n in map(_network, weights) if n not in known)


def _let_queues_go(model: nn.Module, match: PartMatch) -> list[str]:
    """Accept queues of another length, in place; what to say of them.

    A run on other data has other lengths, see FitCheckHook.
    """
    queues = {
        f'{name}.features' for name, m in model.named_modules() if isinstance(m, FeatureQueue)
    }
    fine = [
        (key, old, new)
        for key, old, new in match.wrong_shape
        if key in queues and old[1:] == new[1:]
    ]
    match.wrong_shape = [item for item in match.wrong_shape if item not in fine]
    return [
        f'{key} has {old[0]} keys in the file and {new[0]} in the model, and starts anew'
        for key, old, new in fine
    ]


def _causes(target: Mapping, weights: Mapping, match: PartMatch) -> list[str]:
    if not weights:
        return ['the file holds no weights at its top level nor under "state_dict".']
    prefix = _BACKBONE if any(k.startswith(_BACKBONE) for k in target) else ''
    wanted = [k[len(prefix) :] for k in target if k.startswith(prefix)]
    if any(prefix + key in weights for key in wanted):
        missing, unexpected = (
            [key[len(prefix) :] for key in keys if key.startswith(prefix)]
            for keys in (match.missing, match.unexpected)
        )
        causes = []
        if missing or unexpected:
            causes = likely_causes(prefix, prefix, weights, target, missing, unexpected)
        return causes + _absent(target, weights)
    found = prefixes_with(weights, wanted)
    if found:
        other, count = next(iter(found.items()))
        where = f'as "{other}*"' if other else 'without that prefix'
        return [
            f'other names: {count} of {len(wanted)} tensors of "{prefix}*" are in the file {where}.'
        ]
    heads = Counter(map(_network, weights)).most_common(8)
    return [
        'another model: the file has '
        + ', '.join(f'{head} ({count})' for head, count in heads)
        + '.'
    ]


def _absent(target: Mapping, weights: Mapping) -> list[str]:
    has = {key.split('.')[0] for key in weights}
    heads = dict.fromkeys(key.split('.')[0] for key in target)
    lacks = [head for head in heads if head not in has]
    return [f'the file has nothing of {", ".join(lacks)}.'] if lacks else []


def _remedy(path: str, resume: bool, testing: bool) -> str:
    if testing:
        return (
            'Give the checkpoint that was trained with this config. '
            'Pre-trained weights are fine-tuned before they are tested: '
            'tools/finetune.py.'
        )
    start = f'--init-from {path} (a part of it: --init-parts backbone), which knows other names too'
    if resume:
        return (
            'Resume with the config and options that wrote the file. To '
            f'start a new run from its weights: {start}.'
        )
    return f'Give a file of this very model, or start from the parts that fit: {start}.'
