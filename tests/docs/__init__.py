"""Tests of the documentation: it matches the code, and it is complete."""
