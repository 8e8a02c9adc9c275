"""Studies: pre-training × fine-tuning × seeds, and one report of them."""
