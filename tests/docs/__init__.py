"""Tests of the words: what they say is so, and what is so is said."""
