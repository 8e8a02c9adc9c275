import argparse

import pytest

from dense_ssl.cli.option_action import OptionAction


def parse(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    return parser.parse_args(['--cfg-options', *words]).cfg_options


@pytest.mark.parametrize('path', ['/my images', '/a,b/c', '/a [x, y]/im', '(1)', '007', "it's"])
@pytest.mark.parametrize(
    'key',
    [
        'data_root',
        'train_dataloader.dataset.data_root',
        'work_dir',
        'val_evaluator.ann_file',
        'test_dataloader.dataset.data_prefix.img',
        'load_from',
        'resume',
        'model.backbone.init_cfg.checkpoint',
        'test_dataloader.dataset.data_prefix.img_path',
    ],
)
def test_paths_are_taken_as_they_are(key, path):
    assert parse(f'{key}={path}') == {key: path}


def test_other_values_are_read_as_before():
    assert parse(
        'data_root="a b"',
        'resume=True',
        'load_from=None',
        'lr=0.1',
        'steps=1,2',
        'scale=(1,2)',
        'default_hooks.x.y=a=b',
    ) == {
        'data_root': 'a b',
        'resume': True,
        'load_from': None,
        'lr': 0.1,
        'steps': [1, 2],
        'scale': (1, 2),
        'default_hooks.x.y': 'a=b',
    }


def test_repeated_options_add_up():
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=OptionAction)
    args = parser.parse_args(['--cfg-options', 'a=1', '--cfg-options', 'b=2'])
    assert args.cfg_options == dict(a=1, b=2)


@pytest.mark.parametrize('word', ['experiment_name=a [x, y] b', 'a=[1,2', 'a'])
def test_what_cannot_be_read_is_named(word, capsys):
    with pytest.raises(SystemExit):
        parse(word)
    assert word in capsys.readouterr().err
