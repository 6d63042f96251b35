//! Annotation or file to checked graph. Every value keeps its place in the source, so that errors can point.
