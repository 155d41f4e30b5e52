"""The proof. The folders are named for the rooms that they test."""
