"""The BERT family on local weights: one packed forward pass, on torch, compiled products or a GPU."""
