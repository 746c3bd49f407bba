"""`python -m resonate_amqp`: the command line."""

from __future__ import annotations

from resonate_amqp.cli import main

if __name__ == "__main__":
    main()
