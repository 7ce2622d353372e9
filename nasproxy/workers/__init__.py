"""Where scores are computed: local processes that may die, or a Dask cluster."""
