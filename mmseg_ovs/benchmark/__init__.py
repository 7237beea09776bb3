"""Tables of results: protocol, plans, runs and the model zoo."""
