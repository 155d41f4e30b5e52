"""The load: users that browse, buy and report, and incidents among them."""
