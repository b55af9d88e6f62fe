"""The dashboard: one page, its scripts and styles, as they are written. It knows the control API and nothing else."""
