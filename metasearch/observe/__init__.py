"""What people look at: TensorBoard, pictures, the terminal. Each is an `Observer` of a search."""
