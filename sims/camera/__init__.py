"""The camera scenario: scenes, a detector on the pooled frame, a federated classifier on boxes."""
