"""From beginning to end: a model, the zoo, an ablation."""
