"""What an answer is worth, whatever its spelling."""
