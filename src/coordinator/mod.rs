//! The loop: wait, journal, apply, write, ring, publish. No policy: what a step should do is decided in `podturn-turn`.
