//! Renderings of a state: tables and lines for people. Pure.
