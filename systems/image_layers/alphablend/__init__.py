"""04. AlphaBlend (2025): triplets of foreground, background and composite for six layer-taking tasks.

DiffDecompose, arXiv 2505.21541, part A of card 04; checked against the abstract and three digests of the paper, since
the authors' data are unpublished. Real cut-outs, photographs, lights and marks are placed, made translucent and blended
by one of five operators; every layer and parameter is kept, so that any composite can be made again from its parts.
Approximated: flares and fog are lights and fields, not captured scenes; the blend of glass is our own choice.
To expect: re-blending a stored pair gives the stored composite within 1/255; 12,384 triplets of 32 px in 1 minute.

    python -m stages synthesize alphablend
"""
