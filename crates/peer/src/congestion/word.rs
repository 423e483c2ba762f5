//! What the reports tell by not coming. Pure.

/// Of the target, or of what was sent if that is less, so much is left at the first sign, and when patience is over.
const WARY_SHARE: f64 = 0.15;
const SILENT_SHARE: f64 = 0.04;

/// Whether reports come as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    /// They do.
    Comes,
    /// One is late.
    Late,
    /// A queue, or nothing at all, stands between.
    Silent,
}

impl Word {
    /// What is left of the rate meanwhile, so that what there is of the path carries the sound.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::Comes => 1.0,
            Self::Late => WARY_SHARE,
            Self::Silent => SILENT_SHARE,
        }
    }
}
