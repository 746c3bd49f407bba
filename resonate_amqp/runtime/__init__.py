"""Durable functions: what a body may ask for, how it is replayed, and the worker that runs it."""
