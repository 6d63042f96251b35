//! Every choice of a play is made here, so that a play is its list of choices: repeated, searched through, shortened.
//!
//! Choice 0 is always what happens by default; any other one is a deviation, and a schedule is the list of these.

use std::fmt;

/// One choice that was not the default one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deviation {
    /// The how manieth choice of the play, from 0.
    pub(crate) point: u32,
    /// Which of its alternatives, from 1.
    pub(crate) choice: u32,
}

/// The deviations of a play, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schedule(pub(crate) Vec<Deviation>);

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(|d| format!("{}:{}", d.point, d.choice)).collect();
        f.write_str(&words.join(" "))
    }
}

impl Schedule {
    /// Reads what `Display` wrote.
    pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let deviation = |word: &str| {
            let (point, choice) = word.split_once(':')?;
            Some(Deviation { point: point.parse().ok()?, choice: choice.parse().ok()? })
        };
        words.map(deviation).collect::<Option<Vec<_>>>().map(Self)
    }
}

/// A small generator of numbers: splitmix64, so that a seed means the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }

    /// One of `of` times, on average.
    pub(crate) fn is_one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// How choices are made.
#[derive(Clone, Debug)]
enum Mode {
    /// By a schedule; after its end everything is as by default.
    Scripted { schedule: Schedule, next: usize },
    /// By dice: one choice in `rarity` is a deviation, and at most `faults` of those are faults.
    Random { dice: Dice, rarity: usize, faults: u32 },
}

/// Makes the choices of one play, and keeps what they were.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    mode: Mode,
    /// How many alternatives each choice had.
    pub(crate) widths: Vec<u8>,
    /// What deviated.
    pub(crate) taken: Schedule,
}

impl Chooser {
    pub(crate) fn scripted(schedule: Schedule) -> Self {
        Self { mode: Mode::Scripted { schedule, next: 0 }, widths: Vec::new(), taken: Schedule::default() }
    }

    pub(crate) fn random(mut dice: Dice) -> Self {
        let rarity = [4, 12, 40][dice.below(3)];
        let faults = dice.below(7) as u32;
        Self { mode: Mode::Random { dice, rarity, faults }, widths: Vec::new(), taken: Schedule::default() }
    }

    /// One of `width` alternatives of which the last `faults` are faults; 0 is the default.
    pub(crate) fn choose(&mut self, width: usize, faults: usize) -> usize {
        let point = self.widths.len() as u32;
        self.widths.push(width.min(255) as u8);
        let choice = match &mut self.mode {
            Mode::Scripted { schedule, next } => match schedule.0.get(*next) {
                Some(deviation) if deviation.point == point => {
                    *next += 1;
                    (deviation.choice as usize).min(width - 1)
                }
                _ => 0,
            },
            Mode::Random { dice, rarity, faults: left } => {
                // Faults are rarer than other turns of events, or every play would begin with all of them.
                let open = if *left == 0 || !dice.is_one_in(5) { width - faults } else { width };
                let choice = if open > 1 && dice.is_one_in(*rarity) { 1 + dice.below(open - 1) } else { 0 };
                *left -= u32::from(choice > 0 && choice >= width - faults);
                choice
            }
        };
        if choice > 0 {
            self.taken.0.push(Deviation { point, choice: choice as u32 });
        }
        choice
    }
}
