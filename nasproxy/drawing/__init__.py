"""Figures and pages, and what they look like on a screen and on paper."""
