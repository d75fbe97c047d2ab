"""The forward pass compiled for the CPU: instructions, step, weights, runner; read in this order."""
