"""Tests of the folder that people copy: each through what it emits, with a fresh registry and a fresh stream."""
