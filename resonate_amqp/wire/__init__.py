"""Bytes and names: envelopes, values, addresses. No I/O."""
