"""The study (feature table, metadata, tree, taxonomy): reading, writing, filtering, splitting, simulating."""
