//! The lines of an order: one without an allocation, as most orders have, or several.

use std::ops::Deref;
use std::slice;

use super::Line;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lines(Kept);

/// **Invariant:** one line is always `One`, so that equal lines are equal values.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Kept {
    One(Line),
    Some(Box<[Line]>),
}

impl Default for Lines {
    fn default() -> Self {
        Self(Kept::Some(Box::default()))
    }
}

impl From<Line> for Lines {
    fn from(line: Line) -> Self {
        Self(Kept::One(line))
    }
}

impl From<Vec<Line>> for Lines {
    fn from(lines: Vec<Line>) -> Self {
        match lines.as_slice() {
            [line] => Self::from(*line),
            _ => Self(Kept::Some(lines.into_boxed_slice())),
        }
    }
}

impl From<&[Line]> for Lines {
    fn from(lines: &[Line]) -> Self {
        lines.iter().copied().collect()
    }
}

impl FromIterator<Line> for Lines {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let mut lines = lines.into_iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::default(),
            (Some(line), None) => Self::from(line),
            (Some(first), Some(second)) => {
                let lines = [first, second].into_iter().chain(lines);
                Self(Kept::Some(lines.collect()))
            }
        }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match &self.0 {
            Kept::One(line) => slice::from_ref(line),
            Kept::Some(lines) => lines,
        }
    }
}

impl<'a> IntoIterator for &'a Lines {
    type Item = &'a Line;
    type IntoIter = slice::Iter<'a, Line>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Currency, Money, ProductId, Quantity};

    #[test]
    fn however_lines_came_together_equal_ones_are_equal() {
        let line = Line {
            product: ProductId::new(1),
            quantity: Quantity::new(2).unwrap(),
            unit_price: Money {
                amount: 3,
                currency: Currency::default(),
            },
        };
        assert_eq!(Lines::from(line), Lines::from(vec![line]));
        assert_eq!(Lines::from(line), Lines::from([line].as_slice()));
        assert_eq!(Lines::default(), Lines::from(Vec::new()));
        assert_eq!(&*Lines::from(vec![line, line]), [line, line]);
    }
}
