"""Steps in float16 and bfloat16 against the same step in float32."""

import copy

import pytest
import torch

from .test_no_host_sync import METHODS, batch, prepare

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SCALE = 2.0**10  # of the loss, without which float16's gradients vanish


def gradient(model, data, dtype=None):
    """Loss and gradient of one step, the latter as one vector."""
    torch.manual_seed(1)  # for shuffles and montages
    data = model.data_preprocessor(copy.deepcopy(data), True)
    scale = SCALE if dtype is torch.float16 else 1.0
    with torch.autocast(DEVICE, dtype=dtype, enabled=dtype is not None):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    (loss * scale).backward()
    grads = [p.grad.flatten() / scale for p in model.parameters() if p.grad is not None]
    return loss.detach(), torch.cat(grads)


# Bounds for tiny MCL, whose norms over few cells amplify rounding: noise of
# bfloat16's size in float32 changes its gradients as much, DenseCL's by 1e-5.
@pytest.mark.parametrize(
    'dtype, loss_error, least_cosine', [(torch.float16, 2e-3, 0.99), (torch.bfloat16, 2e-2, 0.8)]
)
@pytest.mark.parametrize('name', METHODS)
def test_a_step(name, dtype, loss_error, least_cosine):
    model, views = prepare(name)
    model.to(DEVICE)
    other = copy.deepcopy(model)
    data = batch(views)
    loss, grad = gradient(model, data)
    half_loss, half_grad = gradient(other, data, dtype)
    assert half_grad.isfinite().all()
    assert half_loss == pytest.approx(loss.item(), rel=loss_error)
    cosine = torch.cosine_similarity(half_grad, grad, dim=0)
    assert cosine > least_cosine
    if dtype is torch.float16:
        assert half_grad.norm() == pytest.approx(grad.norm().item(), rel=0.05)
    # what is kept from step to step stays in float32
    assert {v.dtype for v in other.state_dict().values() if v.is_floating_point()} == {
        torch.float32
    }
