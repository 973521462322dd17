"""What a comparison writes and shows."""
