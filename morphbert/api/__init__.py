"""The commands that join several packages, as one function each; `import morphbert` offers all of them by name."""
