"""The probability that a customer buys again: features, training, validation on a later period, scores."""
