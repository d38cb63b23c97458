"""Fine-tune a language model from a user's feedback, by several methods with several seeds."""
