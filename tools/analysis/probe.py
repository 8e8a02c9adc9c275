"""Score a pre-trained backbone without training it: frozen dense features on label maps.

A linear classifier and nearest neighbours of cells, in minutes on a CPU. For a
comparison give every start the same options, "random" among them.
"""

import argparse
import json

import torch
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from dense_ssl.cli.arguments import add_arguments
from dense_ssl.cli.build import build_config
from dense_ssl.cli.clean_errors import clean_errors
from dense_ssl.evaluation import dense_probe, labeled_splits, probe_backbone
from dense_ssl.files import write_atomically
from dense_ssl.finetune.data.label_maps import parse_classes, read_layout
from dense_ssl.finetune.run import RANDOM
from dense_ssl.models.algorithms.base import build_preprocessor
from dense_ssl.transfer.importers import read_any
from dense_ssl.transfer.strict_loading import Part, match_parts


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument('checkpoint', help='pre-training checkpoint, or the word "random"')
    parser.add_argument('--seg-data', required=True, metavar='DIR', help='as of tools/finetune.py')
    parser.add_argument('--seg-classes', metavar='N|A,B,C', help='as of tools/finetune.py')
    parser.add_argument('--scale', type=int, nargs=2, default=(512, 384), metavar=('LONG', 'SHORT'))
    parser.add_argument(
        '--stages', type=int, nargs='+', default=[1, 2, 3], help="of the backbone's four maps"
    )
    parser.add_argument(
        '--own-strides',
        action='store_true',
        help='leave a ResNet at stride 32; by default its last stages are dilated to stride 8, as '
        'FCNs have them',
    )
    parser.add_argument('--network', choices=['online', 'momentum'], default='online')
    parser.add_argument('--out', metavar='JSON', help='file for the scores')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with clean_errors():
        weights = {} if args.checkpoint == RANDOM else read_any(args.checkpoint).state_dict
        cfg = build_config(args)
        init_default_scope(cfg.default_scope)
        maps = read_layout(args.seg_data, parse_classes(args.seg_classes))
        normalise = build_preprocessor(cfg.get('data_preprocessor'))
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        pairs = [maps.pairs[split] for split in ('train', 'val')]
        train, val = labeled_splits(cfg, pairs, args.scale, normalise, device)
        seed = args.seed or 0
        set_random_seed(seed)
        backbone = probe_backbone(cfg.model.backbone, args.own_strides)
        if args.checkpoint != RANDOM:
            prefix = 'backbone.' if args.network == 'online' else 'momentum_encoder.backbone.'
            model = torch.nn.ModuleDict(dict(backbone=backbone))
            match_parts(model, weights, [Part(prefix, 'backbone.', 'backbone')]).apply()
        backbone = backbone.to(device)
        result = dense_probe(backbone, train, val, maps.num_classes, args.stages, seed=seed)
        for name, value in result._asdict().items():
            print(name, value if isinstance(value, dict) else f'{value:.2f}')
        if args.out:
            write_atomically(args.out, json.dumps(result._asdict(), indent=1))


if __name__ == '__main__':
    main()
