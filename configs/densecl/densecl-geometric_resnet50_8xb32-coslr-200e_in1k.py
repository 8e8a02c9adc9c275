# Positives by position in the image instead of by similarity (PixPro's A).
_base_ = 'densecl_resnet50_8xb32-coslr-200e_in1k.py'
model = dict(correspondence=dict(_delete_=True, type='GeometricCorrespondence', radius=0.7))
