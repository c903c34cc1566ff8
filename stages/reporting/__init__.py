"""What the stages found, put together for people: the ledger, one page to look at, and the summary at the end."""
