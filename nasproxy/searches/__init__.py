"""The best architecture for a budget of full trainings: pool, surrogate, sampler, search."""
