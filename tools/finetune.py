"""Fine-tune a mmdet, mmseg or mmpretrain model from a checkpoint."""

from dense_ssl.cli.arguments import finetune_parser
from dense_ssl.cli.build import build_config
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.finetune.run import RANDOM, fine_tune, print_metrics
from dense_ssl.transfer.importers import read_any


def main() -> None:
    args = finetune_parser(__doc__).parse_args()
    with clean_errors():
        if args.init_from != RANDOM and not args.resume:
            read_any(args.init_from)  # before large annotations are read
        cfg = build_config(args)
        metrics = fine_tune(
            cfg,
            args.init_from,
            args.init_parts,
            args.network,
            args.backbone_prefix,
            not args.accept_recipe,
        )
        print_metrics(metrics, cfg.work_dir)


if __name__ == '__main__':
    main()
