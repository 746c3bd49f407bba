"""Scanning: what a shop's code does, as far as its source tells, before anything of it is durable.

Nothing here runs a function that it reads, and nothing connects to a broker.
"""
