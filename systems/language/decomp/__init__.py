"""51. DecomP (2023): a decomposer writes a program step by step; each step goes to a handler that sees it alone.

Decomposed Prompting, ICLR 2023, arXiv 2210.02406; checked against the code at github.com/allenai/DecomP (search, routed
execution, prompts). Handlers are functions, small character models trained here, a local language model, or any
OpenAI-compatible chat endpoint; a handler may be a decomposer itself, and call itself on less.
Approximated at small scale: character models of 0.35 M weights, to which template phrases are one token, stand for the
large model; the writer of programs quotes 1 to 6 words but sees whole programs of 1 to 3 words alone; the halves of a
list, their joining and the program of the reversal are functions; look-ups retrieve by BM25 and read by rule.
To expect: see docs/ledger.md. About 25 minutes on one core.

    python -m stages decompose decomp
"""
