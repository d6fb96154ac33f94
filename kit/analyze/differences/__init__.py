"""What works and what fails, side by side: the differences over all evidence by the ladder, and what is equal and so cleared."""
