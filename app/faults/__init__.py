"""Fault injection for demonstrations: limited in time, logged, and invisible to the code of users and orders."""
