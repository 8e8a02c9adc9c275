import pytest
import torch
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from dense_ssl.cli.clean_errors import clean_errors, user_error
from dense_ssl.cli.config import load_config
from dense_ssl.cli.options import merge_options


class Refusing(Dataset):
    """Items raise inside dense_ssl."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        merge_options(Config(dict(model=dict(depth=1))), {'model.dept': 1})


def caught(function, *args):
    try:
        function(*args)
    except Exception as error:
        return error


def test_own_error_ends_with_its_message_only(capsys):
    with pytest.raises(SystemExit) as stop, clean_errors():
        load_config('there/is/none.py')
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert err == 'error: no config file there/is/none.py.\n'


def test_wrapped_own_error():

    def build():
        try:
            load_config('none.py')
        except FileNotFoundError as error:
            raise TypeError('class `X`: ...') from error

    assert str(user_error(caught(build))).startswith('no config file none.py')


def test_own_error_from_a_worker():
    loader = DataLoader(Refusing(), num_workers=1)
    error = caught(lambda: next(iter(loader)))
    assert str(user_error(error)).startswith('--cfg-options model.dept: ')
    assert 'Traceback' not in str(user_error(error))


@pytest.mark.parametrize(
    'function',
    [
        lambda: torch.zeros(2) @ torch.zeros(3),
        lambda: int('x'),
        # fails inside our code, but our code did not raise it
        lambda: merge_options(None, 3),
    ],
)
def test_unexpected_errors_keep_their_traceback(function):
    assert user_error(caught(function)) is None
    with pytest.raises(Exception) as kept, clean_errors():
        function()
    assert not isinstance(kept.value, SystemExit)
