# PixContrast whose pairs DenseCL finds: the most similar backbone feature.
_base_ = 'pixcontrast_resnet50_8xb128-coslr-100e_in1k.py'
model = dict(correspondence=dict(_delete_=True, type='SimilarityCorrespondence'))
