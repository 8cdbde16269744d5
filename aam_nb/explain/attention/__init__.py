"""Where a model looks, at every level, and how much its predictions depend on that."""
