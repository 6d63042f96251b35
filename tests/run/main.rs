//! `podturn run` as a person sees it: the real program, its two outputs, its exit code, and what is left afterwards.

mod cancel;
mod ends;
mod honoured;
mod output;
mod pod;
mod refused;
