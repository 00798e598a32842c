"""Real teachers and real students, from weights that lie in packages of the registry."""
