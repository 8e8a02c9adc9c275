"""See which network passes a step makes, and make them alone."""

import time
from collections import defaultdict
from contextlib import ExitStack
from typing import Callable, NamedTuple
from unittest.mock import patch

import torch
from measuring import synchronise
from torch import Tensor, nn

from dense_ssl.models import Correspondence, FeatureQueue, MomentumEncoder, data_preprocessor
from dense_ssl.models.algorithms.base import MomentumSelfSupervisor
from dense_ssl.models.batch_shuffle import BatchShuffle


class Pass(NamedTuple):
    """A call of a network that the step made."""

    module: nn.Module
    inputs: tuple
    online: bool
    is_backbone: bool


def _networks(model: MomentumSelfSupervisor):
    """(child, online, is_backbone) of all networks of an algorithm."""
    for name, child in model.momentum_encoder.named_children():
        yield child, False, name == 'backbone'
    skip = {'momentum_encoder', 'data_preprocessor', 'head'}
    for name, child in model.named_children():
        if name not in skip and not isinstance(child, (FeatureQueue, Correspondence)):
            yield child, True, name == 'backbone'


def _shape(x):
    if isinstance(x, Tensor):
        return x.detach().clone().requires_grad_(x.requires_grad)
    if isinstance(x, (tuple, list)):
        return type(x)(_shape(y) for y in x)
    return x


class _Watch:
    """Calls ``begin`` and ``end`` around the outermost calls of networks.

    Where an algorithm calls parts of a network (an FPN's convolutions one by
    one) those parts are the outermost calls.
    """

    def __init__(self, model, begin, end=lambda key: None) -> None:
        self.handles, self.depth = [], 0
        for child, *kind in _networks(model):
            for module in child.modules():
                self.handles += [
                    module.register_forward_pre_hook(self._enter(begin, kind)),
                    module.register_forward_hook(self._leave(end, kind)),
                ]

    def _enter(self, begin, kind):

        def hook(module, inputs):
            self.depth += 1
            if self.depth == 1:
                begin(module, inputs, *kind)

        return hook

    def _leave(self, end, kind):

        def hook(module, inputs, output):
            self.depth -= 1
            if self.depth == 0:
                end(kind)

        return hook

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for handle in self.handles:
            handle.remove()


def record_passes(step) -> list[Pass]:
    """The passes of one step, with inputs of the very same shapes."""
    passes = []

    def begin(module, inputs, online, is_backbone):
        passes.append(Pass(module, _shape(inputs), online, is_backbone))

    with _Watch(step.model, begin):
        step()
    return passes


def _tensors(x) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in _tensors(y)]
    return []


def replay(step, passes: list[Pass]) -> Callable[[], None]:
    """A function that makes ``passes``, the online ones with backward."""

    def run() -> None:
        outputs = []
        for p in passes:
            with step.autocast(), torch.set_grad_enabled(p.online):
                out = p.module(*p.inputs)
            # as in the step, only the last map of a backbone is read further
            maps = _tensors(out)
            if p.online:
                outputs += [t for t in maps if t.requires_grad]
        torch.autograd.backward(outputs, [torch.ones_like(t) for t in outputs])
        step.optimizer.zero_grad()
        for p in passes:
            for t in _tensors(p.inputs):
                t.grad = None

    return run


class Breakdown:
    """Where one step spends its time, in seconds.

    The parts are timed with the device idle before and after each, so their
    sum exceeds an undisturbed step on a GPU.
    """

    def __init__(self, step) -> None:
        self.step = step
        self.wait = lambda: synchronise(step.device)
        self.times = defaultdict(float)
        for name in (
            'data to device',
            'colour',
            'encoders',
            'neck and projectors',
            'correspondence',
            'loss',
            'gather',
            'queue',
            'backward',
            'optimiser',
            'momentum update',
            'rest of forward',
        ):
            self.times[name] = 0.0

    def _timed(self, name: str, function):

        def wrapper(*args, **kwargs):
            self.wait()
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.wait()
                self.times[name] += time.perf_counter() - start

        return wrapper

    def run(self) -> dict:
        step, times = self.step, self.times
        started = []

        def begin(*args):
            self.wait()
            started.append(time.perf_counter())

        def end(kind):
            self.wait()
            name = 'encoders' if kind[1] else 'neck and projectors'
            times[name] += time.perf_counter() - started.pop()

        with ExitStack() as stack:

            def wrap(owner, attribute, name):
                function = getattr(owner, attribute)
                stack.enter_context(patch.object(owner, attribute, self._timed(name, function)))

            wrap(data_preprocessor, 'batch_color', 'colour')
            wrap(FeatureQueue, 'enqueue', 'queue')
            wrap(MomentumEncoder, 'update', 'momentum update')
            wrap(BatchShuffle, 'shuffle', 'gather')
            wrap(BatchShuffle, 'unshuffle', 'gather')
            wrap(Correspondence, 'match', 'correspondence')
            wrap(Correspondence, 'pairs', 'correspondence')
            if hasattr(step.model.head, 'loss'):
                wrap(step.model.head, 'loss', 'loss')
            with _Watch(step.model, begin, end):
                data = self._timed('data to device', step.prepare)()
                loss = self._timed('rest of forward', step.forward)(data)
            self._timed('backward', step.scaler.scale(loss).backward)()
            self._timed('optimiser', step.update)()
        times['optimiser'] -= times['momentum update']
        times['data to device'] -= times['colour']
        times['rest of forward'] -= sum(
            times[k]
            for k in (
                'encoders',
                'neck and projectors',
                'correspondence',
                'loss',
                'gather',
                'queue',
            )
        )
        return dict(times)
