"""What any project could use: errors, files, settings, versions, logging, registries, output, plot style."""
