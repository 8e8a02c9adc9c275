from dense_ssl.finetune.voc_metric import VOCDetectionMetric, mean_precisions

__all__ = ['VOCDetectionMetric', 'mean_precisions']
