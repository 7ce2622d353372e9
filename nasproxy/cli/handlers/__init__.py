"""What commands do that the Python functions which they call don't; a file a kind of thing."""
