//! The choices of one simulated run, as numbers that proptest makes and shrinks.
//!
//! Every choice is made so that 0 is the most ordinary one, and a tape that has run out gives only zeros: a shrunk case has few
//! faults, and every world becomes fair in the end.

/// A finite list of numbers, read once from front to back.
pub(crate) struct Tape {
    numbers: Vec<u16>,
    next: usize,
}

impl Tape {
    pub(crate) fn new(numbers: Vec<u16>) -> Self {
        Self { numbers, next: 0 }
    }

    /// One of `n` choices; 0 is the ordinary one.
    pub(crate) fn draw(&mut self, n: usize) -> usize {
        let number = self.numbers.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(number) % n
    }

    /// True about once in `n` times; never when the tape has run out.
    pub(crate) fn chance(&mut self, n: usize) -> bool {
        self.draw(n) == n - 1
    }

    /// One of the given choices, the first being the ordinary one.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.draw(choices.len())]
    }
}
