"""How much compute a search needs, replayed on the learning curves of real trials."""
