"""`aigq shop report`: what the shop's logs look like, and how hard it is to foresee the next searches in them."""
