"""What Vivado is given, and what is made of its output."""
