"""For development: a broker of one's own, and what shows the product working."""
