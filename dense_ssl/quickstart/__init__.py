"""The main job from a folder of images to a fine-tuned detector."""
