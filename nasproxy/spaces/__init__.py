"""Search spaces: finding them, drawing architectures, building networks."""
