"""What every room shares: values, geometry, images, files and errors."""
