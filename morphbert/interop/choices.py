"""Values of flags, apart so that a command line can read them without TensorFlow."""

EXPORT_FORMATS = ("huggingface", "google", "saved_model", "onnx")
