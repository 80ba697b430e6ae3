"""Small transformers trained here, what they learn from, and exact theories beside them."""
