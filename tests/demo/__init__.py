"""Tests of the walk without Docker."""
