//! What each letter says, in each language.
//!
//! Subjects are the same for everybody: they are shown on locked screens and kept in the logs of mail servers.
//!
//! Deliberately absent: links. A code that is typed in teaches nobody to click on what a letter shows.

mod english;
mod korean;

use super::moment::spelled;
use super::{Language, Letter, OrderLine, OrderSummary, RefundReason};

/// A longer name is cut: letters go to addresses that nobody has confirmed yet, and are not for messages of others. And what
/// a shop calls its products is no page of its own.
const NAME_CHARS_MAX: usize = 64;

/// What a letter says, before it is laid out.
pub(super) struct Text<'a> {
    pub(super) subject: &'static str,
    /// Paragraphs above the code or the bill.
    pub(super) before: Vec<String>,
    pub(super) code: Option<&'a str>,
    /// What an order is made of, and its sum.
    pub(super) bill: Vec<Row>,
    /// Paragraphs below the code or the bill.
    pub(super) after: Vec<String>,
    /// Whom the letter is from, and that nobody reads answers.
    pub(super) footer: &'static str,
}

/// A line of a bill.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) what: String,
    /// Empty where there is nothing to add up.
    pub(super) price: String,
}

pub(super) fn text(language: Language, letter: &Letter) -> Text<'_> {
    match language {
        Language::English => english::text(letter),
        Language::Korean => korean::text(letter),
    }
}

/// A name as it may stand in a sentence: on one line, in the direction of the line, and not a story of its own.
fn name(name: &str) -> String {
    let breaks_the_line = |it: char| {
        it.is_control() || matches!(it, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    name.replace(breaks_the_line, " ")
}

fn row(line: &OrderLine, language: Language) -> Row {
    Row {
        what: format!("{} × {}", name(&line.product), line.quantity),
        price: line.price.spelled(language),
    }
}
