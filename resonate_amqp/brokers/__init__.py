"""How messages move: one class per broker, one port."""
