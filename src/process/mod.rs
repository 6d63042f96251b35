//! Process ids that cannot be confused, process trees, usage: all that touches `/proc`.
