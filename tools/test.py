"""Evaluate a checkpoint with a config's test loop: mmdet's, mmseg's, mmpretrain's or ours."""

import os.path as osp

import mmengine
from mmengine.evaluator import DumpResults

from dense_ssl.cli.arguments import test_parser
from dense_ssl.cli.build import build_config, build_runner, require_test_loop
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.errors import MissingFile
from dense_ssl.finetune.run import prepare_test, print_metrics


def main() -> None:
    args = test_parser(__doc__).parse_args()
    with clean_errors():
        if not osp.isfile(args.checkpoint):
            raise MissingFile(f'no checkpoint file {args.checkpoint}')
        cfg = build_config(args)
        require_test_loop(cfg, args.config)
        prepare_test(cfg, args.checkpoint)
        runner = build_runner(cfg)
        if args.out and args.out_item == 'pred':
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        metrics = runner.test()
        if args.out and args.out_item == 'metrics':
            mmengine.dump(metrics, args.out)
        print_metrics(metrics, cfg.work_dir)


if __name__ == '__main__':
    main()
