"""Tests. Each folder has the name of the part of the project that it tests."""
