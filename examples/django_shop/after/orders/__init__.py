"""The app of this project: orders, and what becomes of them."""
