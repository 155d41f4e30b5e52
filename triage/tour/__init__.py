"""`triage tour`: check every step from a request to its log lines in the running stack, and print links to follow."""
