# Partners by position in the image instead of by similarity. On small maps the features know
# where in the view they lie, cells of the same place in both views find each other, and the
# dense loss seems to be solved by place alone (docs/results.md); by geometry that does not help.
_base_ = 'densecl_resnet50_1xb64-coslr-20k_small.py'
model = dict(correspondence=dict(_delete_=True, type='GeometricCorrespondence', radius=0.7))
