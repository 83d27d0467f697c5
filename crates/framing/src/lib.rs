//! The framings of the function: ResourceList, stream, legacy plugin, standalone and files.
