"""Tests of the measuring programme."""
