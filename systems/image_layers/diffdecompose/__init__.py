"""04. DiffDecompose (2025): one composite taken apart into foreground RGBA and background by in-context diffusion.

DiffDecompose, arXiv 2505.21541, parts B and C of card 04; checked against the abstract, three digests of the paper, and
the code of the works it builds on (PhotoDoodle's position cloning, AlphaVAE's losses), since its own is unpublished.
The composite's clean tokens stand in one sequence with the noisy tokens of both layers; the background gets exactly the
composite's position codes, the foreground its own; flow matching samples both layers, or either, with no mask.
Approximated at small scale: a 16-channel convolutional autoencoder and a 0.7 M transformer on 32 px pictures in place
of FLUX; a learned table in place of text; ST-LPIPS and PatchGAN off; noise levels shifted towards 1. `backbone: flux`
loads the real classes.
To expect, as shares of the composite's own error: background of one sample 0.87, of the mean of eight 0.83;
recomposition 0.66; see docs/ledger.md. About 15 minutes on two cores.

    python -m stages train diffdecompose
"""
