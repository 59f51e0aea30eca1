"""Publishing: a repository folder that runs without this package, its card, and the push to a hub."""
