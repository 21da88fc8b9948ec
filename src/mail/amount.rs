//! Sums of money as people read them.

use serde::{Deserialize, Serialize};

use super::Language;
use crate::domain::Money;

/// A sum in minor units of a currency, as in the API.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Amount {
    pub amount: i64,
    pub currency: String,
}

/// Currencies that have no minor unit, by ISO 4217.
const WHOLE: [&str; 16] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV",
    "XAF", "XOF", "XPF",
];
/// Those of which a thousand minor units make one.
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self {
            amount: money.amount,
            currency: money.currency.as_str().to_owned(),
        }
    }
}

impl Amount {
    /// `KRW 39,000`, `USD 1,234.50`, `39,000원`.
    pub(super) fn spelled(&self, language: Language) -> String {
        let number = self.number();
        match (language, self.currency.as_str()) {
            (Language::Korean, "KRW") => format!("{number}원"),
            (Language::English | Language::Korean, currency) => format!("{currency} {number}"),
        }
    }

    fn number(&self) -> String {
        let digits = decimals(&self.currency);
        let unit = 10_u64.pow(digits);
        let minor = self.amount.unsigned_abs();
        let sign = if self.amount < 0 { "-" } else { "" };
        let whole = in_thousands(minor / unit);
        match digits {
            0 => format!("{sign}{whole}"),
            digits => format!(
                "{sign}{whole}.{:0width$}",
                minor % unit,
                width = digits as usize
            ),
        }
    }
}

/// Two, as nearly everywhere, also for a currency that nobody has heard of.
fn decimals(currency: &str) -> u32 {
    if WHOLE.contains(&currency) {
        0
    } else if THOUSANDTHS.contains(&currency) {
        3
    } else {
        2
    }
}

/// `1,234,567`
fn in_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_stand_behind_the_point_that_their_currency_has() {
        let cases = [
            (39_000, "KRW", "KRW 39,000", "39,000원"),
            (0, "KRW", "KRW 0", "0원"),
            (999, "JPY", "JPY 999", "JPY 999"),
            (123_450, "USD", "USD 1,234.50", "USD 1,234.50"),
            (5, "EUR", "EUR 0.05", "EUR 0.05"),
            (
                -123_456_789,
                "USD",
                "USD -1,234,567.89",
                "USD -1,234,567.89",
            ),
            (1_234_567, "KWD", "KWD 1,234.567", "KWD 1,234.567"),
            (100, "ABC", "ABC 1.00", "ABC 1.00"),
        ];
        for (amount, currency, english, korean) in cases {
            let amount = Amount {
                amount,
                currency: currency.to_owned(),
            };
            assert_eq!(amount.spelled(Language::English), english);
            assert_eq!(amount.spelled(Language::Korean), korean);
        }
        let most = Amount {
            amount: i64::MIN,
            currency: "KRW".to_owned(),
        };
        assert_eq!(most.number(), "-9,223,372,036,854,775,808");
    }
}
