"""What knows nothing of the field: files, processes, progress, the machine."""
