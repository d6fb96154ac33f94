"""What a statement needs: its relations, columns, functions, and what its names stand for."""
