"""Train a model."""

import argparse

from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.cli.launch import (
    add_common_arguments,
    build_runner,
    load_config,
    merge_arguments,
    prepare_devices,
)
from dense_ssl.cli.train_options import add_train_arguments, merge_train_arguments
from dense_ssl.engine.checkpoint_check import check_checkpoint
from dense_ssl.transfer.init_from import add_init_arguments, merge_init_arguments


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    add_train_arguments(parser)
    add_init_arguments(parser)
    args = parser.parse_args()
    with clean_errors():
        cfg = load_config(args.config)
        merge_arguments(cfg, args)
        merge_train_arguments(cfg, args)
        merge_init_arguments(cfg, args)
        notes = prepare_devices(cfg)
        runner = build_runner(cfg, notes)
        check_checkpoint(runner)
        runner.train()


if __name__ == '__main__':
    main()
