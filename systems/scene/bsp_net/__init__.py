"""12. BSP-Net (2020): an auto-encoder that writes a shape as a union of convexes, each cut by learned planes.

"BSP-Net: Generating Compact Meshes via Binary Space Partitioning", arXiv 1911.06971; checked against the authors' code
(github czq142857/BSP-NET-original: bsp_2d/model.py, create_dataset.py; modelAE.py).
Planes to convexes by a matrix that all shapes share, convexes to a shape by a union; trained relaxed first, then with
the matrix binary, so that polygons and closed meshes are read off exactly by cutting a square or a cube.
Approximated at small scale: thousands of steps in place of millions, with a step size that grows to ten times the
paper's and falls; the overlap loss weighs as many times more as there are convexes; 4,000 training figures, since 450
are learnt by heart. The option `single_view` regresses the code from a picture: a noisy grey one of a flat shape, the
front of a solid. `scales/full.yaml` has ShapeNet and the paper's sizes.
To expect: held-out figures come back with an IoU near 0.9 in about seven pieces; see docs/ledger.md. About 30 minutes
on one core.

    python -m stages train bsp_net
"""
