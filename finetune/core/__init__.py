"""What tensors are called by their dimensions, and what is asked of the libraries."""
