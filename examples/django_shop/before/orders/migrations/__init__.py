"""How the tables of the orders came to be."""
