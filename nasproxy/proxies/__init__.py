"""Proxy sets: making, importing, keeping and judging them."""
