"""Quantisation, search and training with PyTorch; the runtime does not need this package.

It is `train` in a checkout, and `quasar_train` where it is installed. Imports run downwards:

    commands    parse, call what is below, print
    pipelines   a model, a zoo, an ablation from beginning to end
    report      provenance, accuracy, curves
    training    steps, run folders, fine-tuning
    quantise    post-training quantisation
    search      NSGA-II over a space
    cost        cycles, area, the loss of row effects
    networks    checkpoints, the folded, the quantised and the supernet
    spaces      search spaces and subnets
    data        pictures, labels, recipes
"""
