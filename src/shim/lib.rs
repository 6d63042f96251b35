//! The shim.
#![no_std]
