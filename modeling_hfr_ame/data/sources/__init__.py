"""Readers of the layouts that users hold: one file per layout, one table that tells them apart."""
