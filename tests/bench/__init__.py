"""Tests of the overhead benchmark."""
