"""Writes as plain functions of client and verdict: what is checked before, done once, and told truthfully after."""
