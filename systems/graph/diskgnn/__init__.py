"""39. DiskGNN (2024): out-of-core GNN training that samples first, then packs the features each mini-batch will need.

"DiskGNN: Bridging I/O Efficiency and Model Accuracy for Out-of-Core GNN Training", github Liu-rj/DiskGNN;
checked against its code (examples/sampling.py, feat_packing.py, batched_packing.py, train_multi_thread.py) and tables.
With all mini-batches of an epoch sampled ahead, the most popular nodes go to memory, what several batches of a segment
need to a disk cache in min-hash order, and the rest to a packed file a batch, which is read in one piece.
Approximated at small scale: WordNet (117,659 synsets, their glosses as features, lexicographer files as classes) in
place of papers100M; level 1 is a second array where there is no GPU; pages are counted, since a small file would sit
in the page cache; the graph cut into parts follows a Cuthill-McKee order in place of METIS.
To expect: about a fifth of the raw layout's pages at 10 % in memory, and reused samples within a point of new ones; see
docs/ledger.md. About 3 minutes on one core. `scales/full.yaml` has the published sizes.

    python -m stages decompose diskgnn
"""
