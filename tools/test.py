"""Evaluate a checkpoint with a config's test loop."""

import argparse
import os.path as osp

import mmengine
from mmengine.evaluator import DumpResults

from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.cli.launch import (
    add_common_arguments,
    build_runner,
    load_config,
    merge_arguments,
    prepare_devices,
    require_test_loop,
)
from dense_ssl.engine.checkpoint_check import check_checkpoint


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='file for the predictions or metrics')
    parser.add_argument(
        '--out-item', choices=['metrics', 'pred'], default='pred', help='what --out holds'
    )
    args = parser.parse_args()
    if not osp.isfile(args.checkpoint):
        parser.error(f'no checkpoint file {args.checkpoint}')
    with clean_errors():
        cfg = load_config(args.config)
        require_test_loop(cfg, args.config)
        merge_arguments(cfg, args)
        cfg.load_from, cfg.resume = args.checkpoint, False
        notes = prepare_devices(cfg)
        runner = build_runner(cfg, notes)
        check_checkpoint(runner, testing=True)
        if args.out and args.out_item == 'pred':
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        metrics = runner.test()
        if args.out and args.out_item == 'metrics':
            mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    main()
