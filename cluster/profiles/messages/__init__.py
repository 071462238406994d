"""What messages of customers say: language, sentiment, vectors and topics."""
