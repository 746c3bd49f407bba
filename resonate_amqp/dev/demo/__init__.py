"""The demo: nine services, three flows, and a crash, in one terminal."""
