"""Runnable scripts, one per dataset, that write a stored dataset: `python -m dataset_scripts.<name> --help`."""
