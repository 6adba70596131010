"""From a trained model to a checked C project on disk."""
