"""What the system tells its operators."""
