"""What operators ask of a running system: pure renderings of what the ledger answers."""
