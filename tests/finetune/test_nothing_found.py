"""A detector that finds nothing was validated all the same."""

from mmengine.config import Config

from dense_ssl.finetune.run import _nothing_found, print_metrics


def test_ap_is_zero(capsys):
    cfg = Config(dict(val_evaluator=dict(type='CocoMetric', metric=['bbox', 'segm'])))
    metrics = _nothing_found(cfg)
    assert metrics == {'coco/bbox_mAP': 0.0, 'coco/segm_mAP': 0.0}
    print_metrics(metrics, 'w')
    shown = capsys.readouterr().out
    assert 'coco/segm_mAP  0.0000' in shown and 'No validation' not in shown
