"""Search spaces: which networks may be built, and subnets of them."""
