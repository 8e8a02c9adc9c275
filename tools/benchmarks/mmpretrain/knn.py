"""Nearest neighbours on the frozen features of a pre-training checkpoint."""

import argparse
import copy

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from dense_ssl.cli.arguments import add_arguments, add_label_arguments
from dense_ssl.cli.build import build_config
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.errors import UserError
from dense_ssl.evaluation.knn import knn_accuracy
from dense_ssl.finetune.check import build_model
from dense_ssl.finetune.data.paths import check_data_exist
from dense_ssl.finetune.run import RANDOM
from dense_ssl.transfer import prepare_transfer, read_checkpoint


@torch.no_grad()
def features(
    model: BaseModel, loader: DataLoader, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
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
    add_label_arguments(parser)
    parser.add_argument('--checkpoint', required=True, help='as it is, or the word "random"')
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument('--backbone-prefix')
    parser.add_argument('-k', type=int, nargs='+', default=[10, 20, 100, 200])
    args = parser.parse_args()
    cfg = build_config(args)
    if cfg.get('default_scope') != 'mmpretrain':
        raise UserError(f'{args.config} is no mmpretrain config.')
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
    found = {}
    for split in ('train', 'val'):
        loader = copy.deepcopy(cfg.val_dataloader)
        # Training images are seen as test images are: no random crops.
        pipeline = loader.dataset.pipeline
        loader.dataset = copy.deepcopy(cfg[f'{split}_dataloader'].dataset)
        loader.dataset.pipeline = pipeline
        loader.persistent_workers = False
        found[split] = features(model, Runner.build_dataloader(loader), device)
    for k, accuracy in knn_accuracy(*found['train'], *found['val'], neighbours=args.k).items():
        print(f'{k}-NN top-1  {accuracy:.2f}')


if __name__ == '__main__':
    with clean_errors():
        main()
