"""The forward pass of BERT and related encoders on packed tokens: in torch, in compiled C, and on a GPU."""
