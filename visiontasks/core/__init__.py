"""The parts that every other package uses: values, geometry, images, files and errors."""
