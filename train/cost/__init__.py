"""What a subnet costs: cycles and area of the accelerator, and loss by row effects."""
