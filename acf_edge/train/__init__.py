"""The trainer: recipes, patches, the loop, and the short fine-tuning after pruning."""
