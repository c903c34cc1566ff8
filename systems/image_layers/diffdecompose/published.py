"""What the paper of card 04 claims, and the checks the card asks for."""

CARD = "04"
NAME = "DiffDecompose + AlphaBlend"
SOURCE = "arXiv 2505.21541"

PUBLISHED: list[dict[str, str | float]] = [
    {"what": "LOGO-H RMSE (Inpaint Anything: 4.8252)", "value": 3.2321, "source": SOURCE},
    {"what": "LOGO-L RMSE (Inpaint Anything: 3.0461)", "value": 2.1655, "source": SOURCE},
    {"what": "LOGO-G RMSE (Inpaint Anything: 3.8823)", "value": 2.7940, "source": SOURCE},
    {"what": "AlphaBlend watermark RMSE (second best: 11.5273)", "value": 2.9976, "source": SOURCE},
    {"what": "AlphaBlend cells RMSE (second best: 3.3028)", "value": 2.4467, "source": SOURCE},
    {"what": "AlphaBlend X-ray RMSE (second best: 4.8260)", "value": 3.8903, "source": SOURCE},
    {"what": "AlphaBlend flare FID (second best: 462.58)", "value": 23.15, "source": SOURCE},
    {"what": "AlphaBlend occlusion FID (second best: 477.38)", "value": 43.12, "source": SOURCE},
    {"what": "X-ray RMSE without position cloning (with: 3.89)", "value": 16.54, "source": SOURCE},
    {"what": "Glassware RMSE without position cloning (with: 7.99)", "value": 24.60, "source": SOURCE},
    {"what": "Flare RMSE without tuning of the foreground VAE (with: 21.26)", "value": 46.24, "source": SOURCE},
]

CHECKS: list[dict[str, str]] = [
    {"id": "4.1", "kind": "test", "statement": "Re-blending stored layers gives the stored composite within 1/255"},
    {"id": "4.2", "kind": "test", "statement": "No asset in both splits; one seed gives identical hashes twice"},
    {"id": "4.3", "kind": "test", "statement": "Position codes of y are z's, those of x apart or orthogonal"},
    {"id": "4.4", "kind": "test", "statement": "z's tokens stay bit for bit, and carry no gradient of the loss"},
    {"id": "4.5", "kind": "test", "statement": "The RGBA loss equals its Monte-Carlo mean; a fresh widening is opaque"},
    {"id": "4.6", "kind": "hold", "statement": "It decomposes held-out composites, and position cloning is why"},
    {"id": "4.7", "kind": "test", "statement": "Bad input ends in an error that names the parameter"},
]
