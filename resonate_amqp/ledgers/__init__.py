"""Where promises and tasks are kept: one class per file, one port, no rules."""
