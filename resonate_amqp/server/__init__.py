"""The ledger as a service: requests in, one transaction, then replies, unblocks and executes."""
