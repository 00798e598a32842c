"""What a word is, in any script, and how alike two texts are."""
