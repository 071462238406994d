"""What was asked and how far it got: vector stores, jobs, documents."""
