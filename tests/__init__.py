"""A package, so that every test can import :mod:`tests.tiny`."""
