"""Transformations of data sets: which rows of others a set has."""
