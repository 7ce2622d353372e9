"""What gives an architecture a number: one file a kind."""
