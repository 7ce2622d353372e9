"""The one training function, its recipe, and networks on disk."""
