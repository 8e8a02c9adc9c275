"""Nearest neighbours on the frozen features of a pre-training checkpoint."""

import argparse
import copy
import sys

import torch
from mmengine.runner import Runner

from dense_ssl.cli.finetune_options import add_arguments, build_config
from dense_ssl.evaluation.knn import knn_accuracy
from dense_ssl.finetune.check import build_model
from dense_ssl.finetune.data.paths import check_data_exist
from dense_ssl.finetune.run import RANDOM
from dense_ssl.transfer import TransferError, prepare_transfer, read_checkpoint


@torch.no_grad()
def features(model, loader, device):
    """Pooled features (N, D) and labels (N, ) of a data set."""
    rows, labels = [], []
    for batch in loader:
        data = model.data_preprocessor(batch)
        maps = model.backbone(data['inputs'].to(device))[-1]
        rows.append(maps.mean((2, 3)).cpu())
        labels += [int(sample.gt_label) for sample in data['data_samples']]
    return torch.cat(rows), torch.tensor(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument('--checkpoint', required=True, help='as it is, or the word "random"')
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument('--backbone-prefix')
    parser.add_argument('-k', type=int, nargs='+', default=[10, 20, 100, 200])
    args = parser.parse_args()
    cfg = build_config(args)
    if cfg.get('default_scope') != 'mmpretrain':
        raise TransferError(f'{args.config} is no mmpretrain config.')
    check_data_exist(cfg)
    model = build_model(cfg)
    if args.checkpoint == RANDOM:
        model.init_weights()
    else:
        print(
            prepare_transfer(
                model,
                read_checkpoint(args.checkpoint),
                network=args.network,
                backbone_prefix=args.backbone_prefix,
            ).apply()
        )
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model.to(device)
    model.eval()
    found = []
    for split in ('train', 'val'):
        loader = copy.deepcopy(cfg.val_dataloader)
        # Training images are seen as test images are: no random crops.
        pipeline = loader.dataset.pipeline
        loader.dataset = copy.deepcopy(cfg[f'{split}_dataloader'].dataset)
        loader.dataset.pipeline = pipeline
        loader.persistent_workers = False
        found += features(model, Runner.build_dataloader(loader), device)
    for k, accuracy in knn_accuracy(*found, neighbours=args.k).items():
        print(f'{k}-NN top-1  {accuracy:.2f}')


if __name__ == '__main__':
    try:
        main()
    except (TransferError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
