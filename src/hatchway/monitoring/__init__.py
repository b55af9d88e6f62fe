"""What a model is sent and answers, in bounded memory, and whether that changed.

`sketches`, `drift` and their neighbours are pure: no clock, no files, no processes. NumPy and DataSketches are imported
here and nowhere else, so only the process that keeps sketches may import these modules: never a replica, never the
commands' start.
"""
