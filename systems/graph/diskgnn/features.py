"""Features of glosses: TF-IDF with a truncated singular value decomposition, or the embeddings of MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from threadpoolctl import threadpool_limits

from systems.parts.errors import UserError

Features = Float32[np.ndarray, "n d"]
TOKENS = 256
"""Longest text that MiniLM was made for."""


def tfidf(texts: Sequence[str], dim: int, seed: int) -> Features:
    """The first `dim` singular directions of the texts' TF-IDF weights; words of one text alone are left out."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    with threadpool_limits(1):  # or the last bits would depend on the number of cores
        weights = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32).fit_transform(texts)
        if weights.shape[1] < dim:
            raise UserError(
                f"parameter dim = {dim}: the texts have {weights.shape[1]} words in common; at most so many"
            )
        features: Features = TruncatedSVD(dim, n_iter=2, random_state=seed).fit_transform(weights)
    return features.astype(np.float32)


def minilm(texts: Sequence[str], folder: Path, batch: int = 64) -> Features:
    """Mean of an encoder's last states over the tokens of each text, scaled to length 1."""
    from transformers import AutoModel, AutoTokenizer

    if not (folder / "model.safetensors").is_file():
        raise UserError(f"parameter features = minilm: no encoder in {folder}; set fetch.minilm.wanted to true")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    order = np.argsort([len(text) for text in texts], kind="stable")  # little is padded among texts of like length
    features = np.empty((len(texts), model.config.hidden_size), np.float32)
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        given = tokenizer(
            [texts[place] for place in some], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        states, mask = model(**given).last_hidden_state, given["attention_mask"][..., None]
        means = ((states * mask).sum(1) / mask.sum(1)).numpy()
        features[some] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return features
