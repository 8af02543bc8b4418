"""What executes programs; `catalogue` finds and opens them."""
