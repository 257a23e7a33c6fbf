//! Why a broker does not start.

/// Why a broker did not start, in a sentence for its user.
#[derive(Debug)]
pub struct StartError {
    sentence: String,
    is_contradiction: bool,
}

impl StartError {
    /// Something that is wrong, or that cannot be had.
    pub fn new(sentence: impl Into<String>) -> StartError {
        StartError {
            sentence: sentence.into(),
            is_contradiction: false,
        }
    }

    /// What was asked for contradicts what is there.
    pub fn contradiction(sentence: impl Into<String>) -> StartError {
        StartError {
            sentence: sentence.into(),
            is_contradiction: true,
        }
    }

    /// Whether what was asked for contradicts what is there already, so that it helps to ask for something else.
    pub fn is_contradiction(&self) -> bool {
        self.is_contradiction
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for StartError {}
