"""The forward pass of BERT and related encoders without padding: in torch, in compiled C, and on a GPU."""
