"""Budgets of start-up, memory and tokens, against what is measured: `make bench`."""
