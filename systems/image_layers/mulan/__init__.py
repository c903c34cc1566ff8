"""08. MuLAn (2024): a flat photograph to an ordered stack of RGBA instances over a completed background, untrained.

MuLAn, arXiv 2404.02790 (CVPR 2024); checked against its page, the data-set card and its discussions, a reader of its
annotation files, and InstaOrder's repositories, since its pipeline is unpublished. Instances are found, cut out and
ordered by depth and by what occludes what; what is hidden is painted in from far to near; soft edges get the colours
that were mixed there, and alpha is altered where two instances hide each other.
Approximated at small scale: the front of EfficientNet-lite0 (trained on ImageNet, frozen) with two U-Nets of 0.3 M
weights over it in place of SAM and MiDaS, a comparison of facts about two masks in place of InstaOrder, annotation
boxes with errors in place of detCLIPv2 on scenes, Telea's inpainting in place of diffusion, class names in place of
LLaVA and BLIP-2. Providers of kind `full` load the real classes.
To expect: see docs/ledger.md. About 15 minutes on two cores.

    python -m stages decompose mulan
"""
