"""The parts of a multimodal model, and the model they make."""
