"""What one field's type cannot say, one function per rule. `references` holds the tables of them, and the entrance."""
